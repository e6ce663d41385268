//! Tokens that somebody else signs: JSON Web Tokens in their compact form.
//!
//! ```text
//! base64url(header) "." base64url(claims) "." base64url(signature over both, with the dot)
//! ```
//!
//! | key | algorithm |
//! | --- | --- |
//! | a secret of at least 32 bytes | HS256 |
//! | RSA, 2,048 to 8,192 bits | RS256 |
//! | Ed25519 | EdDSA |
//!
//! The key fixes the algorithm. What a token says of its own has to be the same, and decides nothing: so neither `none` nor a
//! signature by a public key taken for a secret gets through. Nothing of a token is believed before its signature is right.
//!
//! Source: RFC 7515, RFC 7517 (sets of keys), RFC 7519, RFC 8037 (EdDSA), RFC 8725.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::{hmac, signature};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Map, Value};

/// Bytes of the shortest secret: as many as the hash has.
pub const SECRET_BYTES_MIN: usize = 32;
/// Bytes of a token that is looked at.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Seconds that clocks may differ.
const LEEWAY_S: i64 = 30;
/// Keys of a set that a token without a name of its key is tried with.
const TRIES_MAX: usize = 16;
/// Bytes of the modulus of an RSA key.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// The algorithm identifiers of public keys, DER with their tag and length.
const RSA_ID: &[u8] = &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
const ED25519_ID: &[u8] = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70];

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JwtKeyError {
    /// A file cannot be read, or what is in it is not what it should be.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The secret can be guessed.
    #[error("a secret of tokens has at least {SECRET_BYTES_MIN} bytes")]
    Short,
}

/// Why a token proves nothing. For the log: who has sent it is told no more than that it is not right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It is no token.
    #[error("the token is malformed")]
    Malformed,
    /// It names something that has to be understood and is not.
    #[error("the token has a critical header")]
    Critical,
    /// No key has the algorithm that it names, or the name of its key.
    #[error("no key is of the token's algorithm and name")]
    Key,
    /// The signature is not right.
    #[error("the token's signature is wrong")]
    Signature,
    /// Its time is over, or it says of none when that is.
    #[error("the token has expired")]
    Expired,
    /// Its time has not begun.
    #[error("the token is not valid yet")]
    Early,
    /// It is not of the issuer that is believed.
    #[error("the token is of another issuer")]
    Issuer,
    /// It is for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// It names no role.
    #[error("the token names no role")]
    Role,
}

/// What has to be right about a token beside its signature and its time.
#[derive(Clone, Debug)]
pub struct JwtRules {
    /// `iss`, where it is asked for.
    pub issuer: Option<String>,
    /// `aud`, or one of them. A token that has one while none is configured is for somebody else.
    pub audience: Option<String>,
    /// The claim that names the role.
    pub role_claim: String,
}

impl Default for JwtRules {
    fn default() -> Self {
        Self { issuer: None, audience: None, role_claim: "sub".to_owned() }
    }
}

/// A key that tokens are believed by.
#[derive(Clone)]
pub struct JwtKey {
    /// Its name in a set: `kid`.
    id: Option<String>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Hs256(hmac::Key),
    Rs256 { n: Vec<u8>, e: Vec<u8> },
    EdDsa([u8; 32]),
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey").field("id", &self.id).field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

impl JwtKey {
    /// A secret that the issuer has too.
    ///
    /// # Errors
    /// [`JwtKeyError::Short`]
    pub fn secret(secret: &[u8]) -> Result<Self, JwtKeyError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(JwtKeyError::Short);
        }
        Ok(Self { id: None, material: Material::Hs256(hmac::Key::new(hmac::HMAC_SHA256, secret)) })
    }

    /// A public key, RSA or Ed25519, in PEM (`PUBLIC KEY`).
    ///
    /// # Errors
    /// [`JwtKeyError::File`]
    pub fn public(path: &Path) -> Result<Self, JwtKeyError> {
        let wrong = |reason: String| JwtKeyError::File { path: path.to_owned(), reason };
        let der = SubjectPublicKeyInfoDer::from_pem_file(path).map_err(|error| wrong(error.to_string()))?;
        let material = public_material(&der)
            .ok_or_else(|| wrong("a public key is RSA of 2,048 to 8,192 bits, or Ed25519".to_owned()))?;
        Ok(Self { id: None, material })
    }

    /// The keys of a set in JSON that signatures are made with. Those of other algorithms are left out.
    ///
    /// # Errors
    /// [`JwtKeyError::File`], also for a set without a key.
    pub fn set(path: &Path) -> Result<Vec<Self>, JwtKeyError> {
        let wrong = |reason: String| JwtKeyError::File { path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let set: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let keys = set["keys"].as_array().ok_or_else(|| wrong("there are no \"keys\" in it".to_owned()))?;
        let keys: Vec<Self> = keys.iter().filter_map(Self::of_set).collect();
        if keys.is_empty() {
            return Err(wrong("there is no key in it that signs: RSA, OKP with Ed25519, or oct".to_owned()));
        }
        Ok(keys)
    }

    fn of_set(key: &Value) -> Option<Self> {
        let text = |name: &str| key[name].as_str();
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let bytes = |name: &str| BASE64URL.decode(text(name)?.trim_end_matches('=')).ok();
        let material = match text("kty")? {
            "RSA" => rsa(&bytes("n")?, &bytes("e")?)?,
            "OKP" if text("crv") == Some("Ed25519") => Material::EdDsa(bytes("x")?.try_into().ok()?),
            "oct" => Self::secret(&bytes("k")?).ok()?.material,
            _ => return None,
        };
        let key = Self { id: text("kid").map(str::to_owned), material };
        // What a key says of its algorithm has to be what it is for.
        text("alg").is_none_or(|algorithm| algorithm == key.algorithm()).then_some(key)
    }

    /// The one algorithm that the key is for.
    fn algorithm(&self) -> &'static str {
        match self.material {
            Material::Hs256(_) => "HS256",
            Material::Rs256 { .. } => "RS256",
            Material::EdDsa(_) => "EdDSA",
        }
    }

    fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Hs256(key) => hmac::verify(key, signed, signature).is_ok(),
            Material::Rs256 { n, e } => signature::RsaPublicKeyComponents { n, e }
                .verify(&signature::RSA_PKCS1_2048_8192_SHA256, signed, signature)
                .is_ok(),
            Material::EdDsa(key) => {
                signature::UnparsedPublicKey::new(&signature::ED25519, key).verify(signed, signature).is_ok()
            }
        }
    }
}

/// Tells tokens that prove a role from others.
#[derive(Clone, Debug)]
pub struct JwtVerifier {
    keys: Vec<JwtKey>,
    rules: JwtRules,
}

impl JwtVerifier {
    /// One that believes these keys.
    #[must_use]
    pub fn new(keys: Vec<JwtKey>, rules: JwtRules) -> Self {
        Self { keys, rules }
    }

    /// The role that a token proves, at a time in seconds since 1970 UTC.
    ///
    /// # Errors
    /// [`JwtError`]
    pub fn verify(&self, token: &str, now_s: i64) -> Result<String, JwtError> {
        self.proof(token, now_s).map(|(role, _)| role)
    }

    /// The same, and when it proves it no more: seconds since 1970 UTC.
    ///
    /// # Errors
    /// [`JwtError`]
    pub fn proof(&self, token: &str, now_s: i64) -> Result<(String, i64), JwtError> {
        let (header, claims, signature, signed) = split(token)?;
        let header = object(header)?;
        if header.contains_key("crit") {
            return Err(JwtError::Critical);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or(JwtError::Malformed)?;
        let id = header.get("kid").and_then(Value::as_str);
        let is_meant = |key: &&JwtKey| {
            let named = id.is_none() || key.id.is_none() || key.id.as_deref() == id;
            named && key.algorithm() == algorithm
        };
        let signature = BASE64URL.decode(signature).map_err(|_| JwtError::Malformed)?;
        let mut wrong = JwtError::Key;
        for key in self.keys.iter().filter(is_meant).take(TRIES_MAX) {
            if key.verifies(signed.as_bytes(), &signature) {
                return self.role(&object(claims)?, now_s);
            }
            wrong = JwtError::Signature;
        }
        Err(wrong)
    }

    /// The role of claims that are signed, and when they end.
    fn role(&self, claims: &Map<String, Value>, now_s: i64) -> Result<(String, i64), JwtError> {
        let seconds = |name: &str| claims.get(name).map(|value| value.as_f64().ok_or(JwtError::Malformed)).transpose();
        let now_s = now_s as f64;
        let leeway_s = LEEWAY_S as f64;
        let end_s =
            seconds("exp")?.map(|exp| exp + leeway_s).filter(|end_s| now_s < *end_s).ok_or(JwtError::Expired)?;
        if seconds("nbf")?.is_some_and(|nbf| now_s + leeway_s < nbf) {
            return Err(JwtError::Early);
        }
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if let Some(issuer) = &self.rules.issuer
            && text("iss") != Some(issuer)
        {
            return Err(JwtError::Issuer);
        }
        let is_for = |audience: &str| match claims.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(some)) => some.iter().any(|one| one.as_str() == Some(audience)),
            _ => false,
        };
        match &self.rules.audience {
            Some(audience) if !is_for(audience) => return Err(JwtError::Audience),
            None if claims.contains_key("aud") => return Err(JwtError::Audience),
            _ => {}
        }
        let role = text(&self.rules.role_claim).filter(|role| !role.is_empty());
        role.map(|role| (role.to_owned(), end_s as i64)).ok_or(JwtError::Role)
    }
}

/// Header, claims, signature, and what is signed.
fn split(token: &str) -> Result<(&str, &str, &str, &str), JwtError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(JwtError::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(JwtError::Malformed)?;
    if claims.contains('.') {
        return Err(JwtError::Malformed);
    }
    Ok((header, claims, signature, signed))
}

fn object(part: &str) -> Result<Map<String, Value>, JwtError> {
    let bytes = BASE64URL.decode(part).map_err(|_| JwtError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| JwtError::Malformed)
}

/// What an RSA key is made of, where it is neither too weak nor a way to keep the server busy.
fn rsa(n: &[u8], e: &[u8]) -> Option<Material> {
    let plain = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
    let (n, e) = (plain(n), plain(e));
    (MODULUS_BYTES.contains(&n.len()) && (1..=5).contains(&e.len())).then_some(Material::Rs256 { n, e })
}

/// A public key out of its DER: `SEQUENCE { algorithm, BIT STRING }`.
fn public_material(der: &[u8]) -> Option<Material> {
    let mut rest = der;
    let mut whole = element(&mut rest, 0x30)?;
    if !rest.is_empty() {
        return None;
    }
    let is_rsa = whole.starts_with(RSA_ID);
    let id = if is_rsa { RSA_ID } else { ED25519_ID };
    whole = whole.strip_prefix(id)?;
    // No bits of its last byte are unused.
    let key = element(&mut whole, 3)?.strip_prefix(&[0])?;
    if !is_rsa {
        return Some(Material::EdDsa(key.try_into().ok()?));
    }
    let mut key = key;
    let mut numbers = element(&mut key, 0x30)?;
    rsa(element(&mut numbers, 2)?, element(&mut numbers, 2)?)
}

/// What the next element of a DER text holds, where it has this tag.
fn element<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (found, mut behind) = rest.split_first()?;
    if *found != tag {
        return None;
    }
    let (first, after) = behind.split_first()?;
    behind = after;
    let length = match *first {
        short @ 0..=0x7f => usize::from(short),
        long @ 0x81..=0x82 => {
            let (bytes, after) = behind.split_at_checked(usize::from(long & 0x7f))?;
            behind = after;
            bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
        }
        _ => return None,
    };
    let (held, after) = behind.split_at_checked(length)?;
    *rest = after;
    Some(held)
}

#[cfg(test)]
mod tests {
    use ring::signature::KeyPair as _;
    use serde_json::json;

    use super::*;

    const SECRET: &[u8] = b"a secret of more than 32 bytes, for tests";
    const NOW_S: i64 = 1_800_000_000;

    fn verifier(rules: JwtRules) -> JwtVerifier {
        JwtVerifier::new(vec![JwtKey::secret(SECRET).unwrap()], rules)
    }

    fn sign(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        let part = |value: &Value| BASE64URL.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = BASE64URL.encode(sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn hs256(secret: &[u8]) -> impl FnOnce(&[u8]) -> Vec<u8> {
        move |signed| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed).as_ref().to_vec()
    }

    fn token(claims: &Value) -> String {
        sign(&json!({"alg": "HS256"}), claims, hs256(SECRET))
    }

    #[test]
    fn claims_have_to_be_right() {
        let rules = JwtRules { issuer: Some("us".into()), audience: Some("db".into()), ..JwtRules::default() };
        let verifier = verifier(rules);
        let right = json!({"sub": "ann", "exp": NOW_S + 60, "nbf": NOW_S, "iss": "us", "aud": "db"});
        let check = |name: &str, value: Value, expected: Result<&str, JwtError>| {
            let mut claims = right.clone();
            claims[name] = value;
            let found = verifier.verify(&token(&claims), NOW_S);
            assert_eq!(found.as_deref().map_err(|error| *error), expected, "{claims}");
        };
        check("sub", json!("ann"), Ok("ann"));
        check("aud", json!(["else", "db"]), Ok("ann"));
        check("exp", json!(NOW_S - LEEWAY_S + 1), Ok("ann"));
        check("exp", json!(NOW_S as f64 + 0.5), Ok("ann"));
        check("nbf", json!(NOW_S + LEEWAY_S), Ok("ann"));
        check("exp", json!(NOW_S - LEEWAY_S), Err(JwtError::Expired));
        check("exp", json!("never"), Err(JwtError::Malformed));
        check("exp", Value::Null, Err(JwtError::Malformed));
        check("nbf", json!(NOW_S + LEEWAY_S + 1), Err(JwtError::Early));
        check("iss", json!("them"), Err(JwtError::Issuer));
        check("iss", json!(["us"]), Err(JwtError::Issuer));
        check("aud", json!("else"), Err(JwtError::Audience));
        check("aud", json!([]), Err(JwtError::Audience));
        check("sub", json!(""), Err(JwtError::Role));
        check("sub", json!(7), Err(JwtError::Role));
        let endless = json!({"sub": "ann", "iss": "us", "aud": "db"});
        assert_eq!(verifier.verify(&token(&endless), NOW_S), Err(JwtError::Expired));
    }

    #[test]
    fn a_token_for_somebody_else_is_not_for_us() {
        let plain = verifier(JwtRules { role_claim: "role".into(), ..JwtRules::default() });
        let claims = json!({"role": "ann", "exp": NOW_S + 60});
        assert_eq!(plain.verify(&token(&claims), NOW_S).as_deref(), Ok("ann"));
        let other = json!({"role": "ann", "exp": NOW_S + 60, "aud": "billing"});
        assert_eq!(plain.verify(&token(&other), NOW_S), Err(JwtError::Audience));
    }

    #[test]
    fn the_key_decides_on_the_algorithm() {
        let pair = signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let public: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
        let key = JwtKey { id: Some("a".into()), material: Material::EdDsa(public) };
        let verifier = JwtVerifier::new(vec![key], JwtRules::default());
        let claims = json!({"sub": "ann", "exp": NOW_S + 60});
        let ed25519 = |signed: &[u8]| pair.sign(signed).as_ref().to_vec();
        let check = |token: String, expected: Result<&str, JwtError>| {
            assert_eq!(verifier.verify(&token, NOW_S).as_deref().map_err(|error| *error), expected, "{token}");
        };
        check(sign(&json!({"alg": "EdDSA"}), &claims, ed25519), Ok("ann"));
        check(sign(&json!({"alg": "EdDSA", "kid": "a"}), &claims, ed25519), Ok("ann"));
        check(sign(&json!({"alg": "EdDSA", "kid": "b"}), &claims, ed25519), Err(JwtError::Key));
        // Neither a signature of another kind, nor none.
        check(sign(&json!({"alg": "HS256"}), &claims, hs256(&public)), Err(JwtError::Key));
        check(sign(&json!({"alg": "EdDSA"}), &claims, hs256(&public)), Err(JwtError::Signature));
        check(sign(&json!({"alg": "none"}), &claims, |_| Vec::new()), Err(JwtError::Key));
        check(sign(&json!({"alg": "EdDSA"}), &claims, |_| Vec::new()), Err(JwtError::Signature));
        check(sign(&json!({"alg": "eddsa"}), &claims, ed25519), Err(JwtError::Key));
        check(sign(&json!({"alg": ["EdDSA"]}), &claims, ed25519), Err(JwtError::Malformed));
        check(sign(&json!({"alg": "EdDSA", "crit": ["exp"]}), &claims, ed25519), Err(JwtError::Critical));
    }

    #[test]
    fn what_was_changed_is_refused() {
        let verifier = verifier(JwtRules::default());
        let right = token(&json!({"sub": "ann", "exp": NOW_S + 60}));
        assert_eq!(verifier.verify(&right, NOW_S).as_deref(), Ok("ann"));
        let parts: Vec<&str> = right.split('.').collect();
        let other = BASE64URL.encode(json!({"sub": "postgres", "exp": NOW_S + 60}).to_string());
        for changed in [
            format!("{}.{other}.{}", parts[0], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}", parts[0], parts[1]),
            format!("{right}.{}", parts[2]),
            format!("{right}="),
            format!(" {right}"),
            "..".to_owned(),
            String::new(),
            "x".repeat(TOKEN_BYTES_MAX + 1),
        ] {
            let error = verifier.verify(&changed, NOW_S).unwrap_err();
            assert!(matches!(error, JwtError::Signature | JwtError::Malformed), "{changed}: {error}");
        }
        assert!(matches!(JwtKey::secret(b"short"), Err(JwtKeyError::Short)));
    }

    #[test]
    fn files_hold_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        write(&pair.public_key_pem());
        let key = JwtKey::public(&path).unwrap();
        assert_eq!(key.algorithm(), "EdDSA");
        let set = json!({"keys": [
            {"kty": "oct", "k": BASE64URL.encode(SECRET), "kid": "s"},
            {"kty": "oct", "k": BASE64URL.encode("short")},
            {"kty": "OKP", "crv": "Ed25519", "x": BASE64URL.encode([7; 32]), "alg": "EdDSA", "use": "sig"},
            {"kty": "OKP", "crv": "Ed25519", "x": BASE64URL.encode([7; 32]), "use": "enc"},
            {"kty": "OKP", "crv": "Ed25519", "x": BASE64URL.encode([7; 32]), "alg": "HS256"},
            {"kty": "RSA", "n": BASE64URL.encode([1; 256]), "e": "AQAB"},
            {"kty": "RSA", "n": BASE64URL.encode([1; 128]), "e": "AQAB"},
            {"kty": "EC"},
        ]});
        write(&set.to_string());
        let found: Vec<_> = JwtKey::set(&path).unwrap().iter().map(JwtKey::algorithm).collect();
        assert_eq!(found, ["HS256", "EdDSA", "RS256"]);
        assert!(!format!("{:?}", JwtKey::set(&path).unwrap()).contains("secret"));
        for wrong in ["", "{}", r#"{"keys": []}"#, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            write(wrong);
            assert!(JwtKey::set(&path).unwrap_err().to_string().contains("keys"), "{wrong}");
            assert!(JwtKey::public(&path).unwrap_err().to_string().contains("keys"), "{wrong}");
        }
    }
}
