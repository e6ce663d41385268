//! A cluster's own authority: the certificates that its members prove themselves with.
//!
//! Keys are ECDSA P-256. The authority signs for members and for nothing else; each certificate is made out to a node's name.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// Its name, which stands in every certificate that it signs.
const NAME: &str = "Perigee cluster authority";

/// A certificate and its private key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Certified {
    /// The certificate.
    pub certificate: String,
    /// The key; a secret.
    pub key: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The authority's key is none.
    #[error("the authority's key cannot be used: {0}")]
    Key(String),
    /// No certificate can be made out to this name.
    #[error("no certificate can be made out to {name:?}: {reason}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        reason: String,
    },
}

fn failed(error: &rcgen::Error) -> AuthorityError {
    AuthorityError::Key(error.to_string())
}

/// A new authority.
///
/// # Errors
/// [`AuthorityError::Key`] when the system gives no random numbers.
pub fn new_authority() -> Result<Certified, AuthorityError> {
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let certificate = own().self_signed(&key).map_err(|error| failed(&error))?;
    Ok(Certified { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// A certificate for the node `name`, signed with an authority's key (PEM).
///
/// # Errors
/// [`AuthorityError`]
pub fn certify(authority_key: &str, name: &str) -> Result<Certified, AuthorityError> {
    let wrong = |error: &rcgen::Error| AuthorityError::Name { name: name.to_owned(), reason: error.to_string() };
    let issuer = Issuer::new(own(), KeyPair::from_pem(authority_key).map_err(|error| failed(&error))?);
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(|error| wrong(&error))?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Every member connects and is connected to.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let certificate = params.signed_by(&key, &issuer).map_err(|error| wrong(&error))?;
    Ok(Certified { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// What the authority's own certificate says; the same each time, so that its key alone is enough to sign.
fn own() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustls_pki_types::pem::PemObject;

    use super::*;
    use crate::tls::{CertificateDer, MemberTls, is_made_out_to};

    #[test]
    fn a_member_is_certified() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let authority = new_authority().unwrap();
        let member = certify(&authority.key, "n1").unwrap();
        fs::write(path("authority.crt"), &authority.certificate).unwrap();
        fs::write(path("n1.crt"), &member.certificate).unwrap();
        fs::write(path("n1.key"), &member.key).unwrap();
        MemberTls::load(&path("authority.crt"), &path("n1.crt"), &path("n1.key"), &["h2"]).unwrap();
        let certificate = CertificateDer::from_pem_slice(member.certificate.as_bytes()).unwrap();
        assert!(is_made_out_to(&certificate, "n1"));
        assert!(!is_made_out_to(&certificate, "n2"));
    }

    #[test]
    fn what_is_no_key_and_no_name_is_refused() {
        assert!(matches!(certify("no key", "n1"), Err(AuthorityError::Key(_))));
        assert!(matches!(certify(&new_authority().unwrap().key, "größe"), Err(AuthorityError::Name { .. })));
    }
}
