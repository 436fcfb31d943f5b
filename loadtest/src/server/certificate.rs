//! Owns the self-signed certificate of a started server, in a temporary folder. Never verifies certificates.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use tempfile::TempDir;

/// A certificate for this host (ECDSA P-256) with its key; removed on drop.
#[derive(Debug)]
pub struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// Creates certificate and key as PEM files in a folder that only this user may read.
    ///
    /// # Errors
    /// They cannot be created or written.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("loadtest-").tempdir().context("cannot create a folder")?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).context("cannot create a certificate")?;
        let write = |name: &str, text: String| -> anyhow::Result<()> {
            let path = folder.path().join(name);
            let written = std::fs::File::create(&path).and_then(|mut file| file.write_all(text.as_bytes()));
            written.with_context(|| format!("cannot write {}", path.display()))
        };
        write("server.crt", made.cert.pem())?;
        write("server.key", made.signing_key.serialize_pem())?;
        Ok(Certificate { folder })
    }

    /// The certificate's file.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    /// The key's file.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn dropping_removes_the_files() {
        let made = Certificate::new().expect("a certificate");
        let text = |path: &Path| std::fs::read_to_string(path).expect("written");
        assert!(text(&made.certificate()).starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(text(&made.key()).contains("PRIVATE KEY-----"));
        let folder = made.certificate().parent().map(Path::to_owned).expect("it is in one");
        drop(made);
        assert!(!folder.exists());
    }
}
