//! Rate limits: token buckets and sliding windows, with time as an argument. Never knows what is counted, and refuses
//! nothing itself.

mod bucket;
mod due;
#[cfg(test)]
mod tests;
mod window;

pub use self::bucket::{Bucket, Rate};
pub use self::due::DueKeys;
pub use self::window::SlidingWindow;
