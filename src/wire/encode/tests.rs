//! What the server says, read back in every form.

mod publications;
mod pushes;
mod replies;
