//! How often something may be done: token buckets and sliding windows, with time as an argument. Knows neither what is
//! counted nor for whom, and refuses nobody.

mod bucket;
#[cfg(test)]
mod tests;
mod window;

pub use self::bucket::{Bucket, Rate};
pub use self::window::SlidingWindow;
