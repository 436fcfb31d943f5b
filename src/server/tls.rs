//! The TLS identity of the server: reads and checks the PEM files of `tls.certificate` and `tls.key`. Makes no handshake;
//! never shows any part of a key.

#[cfg(test)]
mod tests;
mod validity;

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{Error, InconsistentKeys, ServerConfig};

use self::validity::Validity;
use super::file;
use crate::base::limits::KEY_FILE_BYTES_MAX;

/// The only application protocol: WebSockets open over HTTP/1.1.
const ALPN: &[u8] = b"http/1.1";

/// The certificate chain and private key of the server.
#[derive(Debug)]
pub struct TlsIdentity {
    /// The configuration of handshakes, shared by all cores so that each can resume every session.
    pub config: Arc<ServerConfig>,
    /// The server's certificate first.
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// When all certificates of the chain are valid.
    validity: Validity,
}

/// A mistake in one of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsMistake {
    /// The configuration key that names the file.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub text: String,
}

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";

fn mistake(key: &'static str, text: String) -> TlsMistake {
    TlsMistake { key, text }
}

impl TlsIdentity {
    /// Reads and checks both files; both are needed.
    ///
    /// # Errors
    /// The mistakes in the files.
    pub fn load(certificate: &str, key: &str) -> Result<TlsIdentity, Vec<TlsMistake>> {
        match (read_chain(certificate), read_key(key)) {
            (Ok(chain), Ok(private)) => {
                TlsIdentity::of(chain, certificate, private, key).map_err(|mistake| vec![mistake])
            }
            (chain, private) => Err(chain.err().into_iter().chain(private.err()).collect()),
        }
    }

    /// The paths are for the errors.
    fn of(
        chain: Vec<CertificateDer<'static>>,
        certificate: &str,
        private: PrivateKeyDer<'static>,
        key: &str,
    ) -> Result<TlsIdentity, TlsMistake> {
        let validity = chain.iter().enumerate().map(|(at, der)| {
            Validity::of(der).ok_or_else(|| {
                let text =
                    format!("certificate {} of {certificate:?} is damaged; it must be an X.509 certificate", at + 1);
                mistake(CERTIFICATE, text)
            })
        });
        let validity = validity.collect::<Result<Vec<_>, _>>()?.into_iter().reduce(Validity::and);
        let validity = validity.expect("a chain has at least one certificate");
        let config = configure(chain.clone(), private.clone_key()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => mistake(
                KEY,
                format!(
                    "{key:?} does not belong to the certificate in {certificate:?}; it must be the private key of the \
                     first certificate there"
                ),
            ),
            Error::InvalidCertificate(error) => {
                mistake(CERTIFICATE, format!("{certificate:?} holds a certificate that cannot be used: {error}"))
            }
            error => mistake(
                KEY,
                format!(
                    "{key:?} holds a key that cannot be used ({error}); it must be an RSA key of at least 2048 bits, an \
                     ECDSA key on P-256, P-384 or P-521, or an Ed25519 key"
                ),
            ),
        })?;
        Ok(TlsIdentity { config: Arc::new(config), chain, key: private, validity })
    }

    /// When all certificates of the chain are valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The number of certificates in the chain.
    #[must_use]
    pub fn certificates(&self) -> usize {
        self.chain.len()
    }

    /// Whether chain and key are the same as those of `other`.
    #[must_use]
    pub fn is_same_as(&self, other: &TlsIdentity) -> bool {
        self.chain == other.chain && self.key.secret_der() == other.key.secret_der()
    }
}

fn read(key: &'static str, path: &str) -> Result<Vec<u8>, TlsMistake> {
    if path.is_empty() {
        return Err(mistake(key, "is empty; TLS needs both tls.certificate and tls.key".into()));
    }
    file::read_pem(path, KEY_FILE_BYTES_MAX).map_err(|unreadable| {
        mistake(key, format!("{path:?} {unreadable}; it must be the path of a file that the server may read"))
    })
}

fn read_chain(path: &str) -> Result<Vec<CertificateDer<'static>>, TlsMistake> {
    let pem = read(CERTIFICATE, path)?;
    let must = "it must be a PEM file with the server's certificate, followed by the intermediate certificates";
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| mistake(CERTIFICATE, format!("{path:?} is damaged ({error}); {must}")))?;
    if chain.is_empty() {
        let instead = match PrivateKeyDer::from_pem_slice(&pem) {
            Ok(_) => "holds a private key and no certificate",
            Err(_) => "holds no certificate",
        };
        return Err(mistake(CERTIFICATE, format!("{path:?} {instead}; {must}")));
    }
    Ok(chain)
}

fn read_key(path: &str) -> Result<PrivateKeyDer<'static>, TlsMistake> {
    let pem = read(KEY, path)?;
    let must = "it must be a PEM file with one private key that is not encrypted (PKCS #8, PKCS #1 or SEC 1)";
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        let is_encrypted = pem.windows(21).any(|window| window == b"ENCRYPTED PRIVATE KEY");
        let text = match error {
            _ if is_encrypted => format!("{path:?} is encrypted, and the server cannot ask for the password; {must}"),
            PemError::NoItemsFound => format!("{path:?} holds no private key; {must}"),
            // The error could quote a part of the key.
            _ => format!("{path:?} is damaged; {must}"),
        };
        mistake(KEY, text)
    })
}

fn configure(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Tickets keep the state of sessions with the clients: resumption costs no memory, and no core asks another.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(config)
}
