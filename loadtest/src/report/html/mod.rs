//! One HTML file that holds everything.
use super::kept::Document;
/// The page.
///
/// # Errors
/// A histogram cannot be read.
pub fn page(_documents: &[Document]) -> anyhow::Result<String> {
    Ok(String::new())
}
