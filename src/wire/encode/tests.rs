//! The server's messages, read back in every form.

mod publications;
mod pushes;
mod replies;
