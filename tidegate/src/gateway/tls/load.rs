//! Certificates and keys as they stand in files, and what is wrong with them in words.

use super::super::config::listener::Pair;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};
use sha2::Digest as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Files as they were read once, together. Whether they have changed is told by digests: keys are kept nowhere longer than needed.
#[derive(Debug, Default)]
pub struct Files(BTreeMap<PathBuf, Result<Vec<u8>, String>>);

pub type Digest = [u8; 32];

/// A certificate for those who look.
#[derive(Clone, Debug)]
pub struct Shown {
    pub file: String,
    pub names: String,
    /// Seconds of Unix time from which on clients don't take it.
    pub not_after_s: i64,
}

/// One that was loaded.
#[derive(Debug)]
pub struct Loaded {
    pub certified: CertifiedKey,
    pub names: Vec<String>,
    pub shown: Shown,
}

impl Files {
    pub fn read<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Self {
        let read =
            |path: &PathBuf| std::fs::read(path).map_err(|error| format!("{} can't be read: {error}", path.display()));
        Self(paths.map(|path| (path.clone(), read(path))).collect())
    }

    fn get(&self, path: &Path) -> Result<&[u8], String> {
        let read = self.0.get(path).ok_or_else(|| format!("{} was not read", path.display()))?;
        read.as_deref().map_err(Clone::clone)
    }

    pub fn digest(&self, path: &Path) -> Result<Digest, String> {
        self.get(path).map(|bytes| sha2::Sha256::digest(bytes).into())
    }

    /// What tells whether something has changed.
    pub fn digests(&self) -> BTreeMap<PathBuf, Result<Digest, String>> {
        self.0.keys().map(|path| (path.clone(), self.digest(path))).collect()
    }
}

/// A certificate and its key.
pub fn certificate(pair: &Pair, files: &Files, provider: &Arc<CryptoProvider>) -> Result<Loaded, String> {
    let file = pair.certificate.display();
    let chain = certificates(&pair.certificate, files)?;
    let (names, not_after_s) = about(&chain[0]).map_err(|why| format!("{file}: {why}"))?;
    let key = private_key(&pair.key, files)?;
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(_) => {
            format!("the key in {} is not that of the certificate in {file}: give both of one pair", pair.key.display())
        }
        Error::InvalidCertificate(error) => format!("{file}: the certificate can't be used: {error:?}"),
        other => format!("{}: the key can't be used: {other}", pair.key.display()),
    })?;
    let shown = Shown { file: file.to_string(), names: names.join(" "), not_after_s };
    Ok(Loaded { certified, names, shown })
}

/// Those whom clients' certificates must be signed by.
pub fn roots(path: &Path, files: &Files) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, files)? {
        roots.add(certificate).map_err(|error| format!("{}: can't be trusted: {error}", path.display()))?;
    }
    Ok(roots)
}

pub fn certificates(path: &Path, files: &Files) -> Result<Vec<CertificateDer<'static>>, String> {
    let file = path.display();
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(files.get(path)?).collect();
    let all = all.map_err(|error| format!("{file} is no PEM: {error}"))?;
    if all.is_empty() {
        return Err(format!(
            "{file} has no certificate: it wants `-----BEGIN CERTIFICATE-----`, the server's own first"
        ));
    }
    Ok(all)
}

pub fn private_key(path: &Path, files: &Files) -> Result<PrivateKeyDer<'static>, String> {
    let (file, text) = (path.display(), files.get(path)?);
    PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        let has = |word: &[u8]| memchr::memmem::find(text, word).is_some();
        if has(b"ENCRYPTED") {
            format!(
                "the key in {file} is encrypted, and there is nobody to ask for its word: decrypt it (openssl pkey)"
            )
        } else if has(b"BEGIN CERTIFICATE") {
            format!("{file} has a certificate where its key should be")
        } else {
            format!("{file} has no private key in PEM (PKCS#8, PKCS#1 or SEC1): {error}")
        }
    })
}

/// The names that a certificate is for, and its end.
fn about(der: &[u8]) -> Result<(Vec<String>, i64), String> {
    let (_, parsed) = X509Certificate::from_der(der).map_err(|error| format!("it can't be understood: {error}"))?;
    let alternatives = parsed.subject_alternative_name().ok().flatten();
    let alternatives = alternatives.iter().flat_map(|names| &names.value.general_names);
    let names = alternatives.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    Ok((names.collect(), parsed.validity().not_after.timestamp()))
}

/// The subject of a client's certificate, as `CN=ada,O=Example`, in its order, with what is no plain text there escaped as RFC 4514 says:
/// two subjects are never told as one.
pub fn subject(der: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let mut text = String::new();
    for name in parsed.subject().iter() {
        for (at, attribute) in name.iter().enumerate() {
            if !text.is_empty() {
                text.push(if at == 0 { ',' } else { '+' });
            }
            let kind = attribute.attr_type();
            match oid2abbrev(kind, oid_registry()) {
                Ok(short) => text.push_str(short),
                Err(_) => text.push_str(&kind.to_id_string()),
            }
            text.push('=');
            match attribute.as_str() {
                Ok(value) => push_escaped(&mut text, value),
                Err(_) => attribute.as_slice().iter().for_each(|byte| text += &format!("\\{byte:02X}")),
            }
        }
    }
    Some(text)
}

fn push_escaped(text: &mut String, value: &str) {
    for (at, c) in value.char_indices() {
        let at_an_end = at == 0 || at + c.len_utf8() == value.len();
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => text.extend(['\\', c]),
            ' ' | '#' if at_an_end => text.extend(['\\', c]),
            ' '..='~' => text.push(c),
            other => {
                other.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| *text += &format!("\\{byte:02X}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_reads_as_two() {
        let mut text = String::new();
        for value in ["bob, O=Admins", " #a ", "#b", "J\u{e4}ger\n", "a\\b+c"] {
            push_escaped(&mut text, value);
            text.push('|');
        }
        assert_eq!(text, "bob\\, O\\=Admins|\\ #a\\ |\\#b|J\\C3\\A4ger\\0A|a\\\\b\\+c|");
    }
}
