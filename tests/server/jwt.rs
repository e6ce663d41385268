//! JSON Web Tokens as an issuer makes them, right and wrong.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::KeyPair as _;
use ring::{hmac, rand, signature};
use serde_json::{Value, json};

/// A secret of HS256.
pub(crate) const SECRET: &str = "a secret of tests that is long enough for HS256";

/// An RSA key of tests, DER; nothing else trusts it.
const RSA: &str = "MIIEpAIBAAKCAQEAtd8y1pbG44jDksOh82T2Ao1LpTuFMiJMdAYMiOod11VK6KeFYVxMcYbD4EsTyhIlifKNdkGja+9Psa4/2/oZV9H4hKr38x\
    pD74RpSyu0hlG+BUtkqLXc94N7SC/1z+ghWfKtEOWRFl3eNRmTatnwAB5k+iLsHw0LmA0++1ZUueU0C+DGYdcxu5QmkF2bnBgvNYds7Zk0miJ4\
    DVkqj2ZVUz1PWCAxCilhWPwZUrZWiCs7r/xMSrB5mBMLG0oXzi4MqwJVll3EDgRIASBg9uQMZGZh92mOwzoW7ol0uyPTFaMX9BRiSmVlH+n1R2\
    4Lq2bwtxoqxTX3QJhwmTAnR0AHPQIDAQABAoIBACt4HX6MqxzXI2eAusSh7OrPOrVTdJJ3AC77AyP2UQuWp0DUSVzr4pl/zHFfgGtbyv0drBIH\
    vjeeCz48l6bMMCJ9XRjYhErmjDZDP6dn2s3/25sIWha44QeHtX+bdvUqVk5ZYmQXeoYOCX5HjqSLUoG0wg3HKwiA5bSB9fu8tqN3bb1oyfcv2M\
    BYsm81SjFybPzwTg+BcmpNrG5w0NN84dQbPOF/yR90m2kS2cwh5XbuY42s6g7D1AgPB2n/GVejmrNUiFJ2GvzFa5VQZzd8u/VhRjJgspz4DiGL\
    mqwG3KibB9UPerQ+R2UUSpTkVIjMIAehb/1Lc20eASv42/x8cAECgYEA3H9eBeApOCdZU1ourb4r5SHXnClUwIrriA1FHdqIWDkVlwh3V/wqht\
    HZgQljeJoppZoentAb1KsdYVOoRPvib4Akiv0fYrE2uF0KIgcUGPCkqVPGXCEftYEZtHvXnrTUc1hhhdG9gOTvepC5rEwWskfV1izCk48JbcVV\
    Mc25rMECgYEA0ye62iITLE4gXnUTlJaXVIwEW+IV4GLj70eCrCVYio2FUVZAVtgqWFfVaHM7kW4S71F6cjDf6HUlhlS7IjRnjiYsDGFPa0COJM\
    buS1wBUQgRSXIaWzPXQeRBh2EBRrD1mRnhJiapiCFsO85Br2+D3/mSZE5DAHLG/4bQG5Co7X0CgYEAsbcCO/AYqMamKxUTbDtLO6kUEywIwAr3\
    nLc9Trt0is6vhQRw0/xM9k6qZGMBxhFSocNfDJck5zpnOqtngvoU3dNFILS0mCHGvb9XTGeyHgvOWx9HT7fuy6Za5mmuNp7+YF0KdQXAG+Po1D\
    tTOvg0jspxIeb/iFiPu+aBLNvn28ECgYBdhqd4nscnRKOJswmtMtZsmGgF2qod7S9QeLgkT5ZcKDr4v99Xl/+Jib34ubGUxNCWN9yoX4WNjPXF\
    /hm1GMkVaUrxYNiwhLNxDrvVnTboEU623VdXNisOAHAV6p2KFi9yVMgpAc7tgQBTrRPjBN3AguaYjyGWPUBvReM/kl+AcQKBgQCxUWtbAQeAB5\
    LIon+8/VzbiXMqWxb913GWr/k1SV3Rte5ani7Y95sAPg4DSZ3enFITjQfUaa3V6gjHpYdIDjAxg1PvzrK89ELWG9kHwN5GRKJtX9JZxLWG6Bh/\
    7pktugzSLmVqnLC7x6IxioUh4j/l5HJb+h25TyglADxXoxub9Q==";
/// Its public part.
const RSA_PUBLIC: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtd8y1pbG44jDksOh82T2Ao1LpTuFMiJMdAYMiOod11VK6KeFYVxMcYbD4EsTyhIlif\
    KNdkGja+9Psa4/2/oZV9H4hKr38xpD74RpSyu0hlG+BUtkqLXc94N7SC/1z+ghWfKtEOWRFl3eNRmTatnwAB5k+iLsHw0LmA0++1ZUueU0C+DG\
    Ydcxu5QmkF2bnBgvNYds7Zk0miJ4DVkqj2ZVUz1PWCAxCilhWPwZUrZWiCs7r/xMSrB5mBMLG0oXzi4MqwJVll3EDgRIASBg9uQMZGZh92mOwz\
    oW7ol0uyPTFaMX9BRiSmVlH+n1R24Lq2bwtxoqxTX3QJhwmTAnR0AHPQIDAQAB";

/// Seconds since 1970 UTC.
pub(crate) fn now_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// Claims of a role, right for an hour.
pub(crate) fn claims(role: &str) -> Value {
    json!({"sub": role, "exp": now_s() + 3_600, "iss": "tests", "aud": ["other", "perigee"]})
}

/// The same with something changed; null takes it away.
pub(crate) fn with(role: &str, name: &str, value: Value) -> Value {
    let mut claims = claims(role);
    claims[name] = value;
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

/// A token with any header and any signature.
pub(crate) fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Signs with a secret.
pub(crate) fn hs256(secret: &[u8]) -> impl FnOnce(&[u8]) -> Vec<u8> {
    move |signed| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed).as_ref().to_vec()
}

/// Signs with the RSA key of tests.
pub(crate) fn rs256(signed: &[u8]) -> Vec<u8> {
    let pair = signature::RsaKeyPair::from_der(&STANDARD.decode(RSA).unwrap()).unwrap();
    let mut made = vec![0; pair.public().modulus_len()];
    pair.sign(&signature::RSA_PKCS1_SHA256, &rand::SystemRandom::new(), signed, &mut made).unwrap();
    made
}

/// The public part of the RSA key of tests, PEM.
pub(crate) fn rsa_pem() -> String {
    pem(RSA_PUBLIC)
}

/// An Ed25519 key.
pub(crate) struct Ed25519(signature::Ed25519KeyPair);

impl Ed25519 {
    /// A new one.
    pub(crate) fn new() -> Self {
        let key = signature::Ed25519KeyPair::generate_pkcs8(&rand::SystemRandom::new()).unwrap();
        Self(signature::Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    /// Its public part in a set of keys.
    pub(crate) fn in_set(&self, id: &str) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "alg": "EdDSA", "use": "sig", "x": x})
    }

    /// A token of a role, signed with it.
    pub(crate) fn token(&self, id: &str, role: &str) -> String {
        let header = json!({"alg": "EdDSA", "kid": id});
        token(&header, &claims(role), |signed| self.0.sign(signed).as_ref().to_vec())
    }
}

fn pem(base64: &str) -> String {
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in base64.as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line).unwrap());
        pem.push('\n');
    }
    pem.push_str("-----END PUBLIC KEY-----\n");
    pem
}
