//! JSON Web Tokens, good and forged.

use std::num::NonZeroU32;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;

mod forged;

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"a secret of 32 bytes, or of more";

/// A pair of keys of an issuer.
struct Issuer {
    algorithm: Algorithm,
    private: EncodingKey,
    /// 32 bytes of Ed25519, or 65 of P-256.
    public: Vec<u8>,
}

impl Issuer {
    fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let public = Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap();
        Self {
            algorithm: Algorithm::EdDSA,
            private: EncodingKey::from_ed_der(pair.as_ref()),
            public: public.public_key().as_ref().to_owned(),
        }
    }

    fn p256() -> Self {
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::generate_pkcs8(kind, &SystemRandom::new()).unwrap();
        let public = EcdsaKeyPair::from_pkcs8(kind, pair.as_ref()).unwrap();
        Self {
            algorithm: Algorithm::ES256,
            private: EncodingKey::from_ec_der(pair.as_ref()),
            public: public.public_key().as_ref().to_owned(),
        }
    }

    fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
        let kid = kid.map(str::to_owned);
        encode(&Header { kid, ..Header::new(self.algorithm) }, claims, &self.private).unwrap()
    }

    fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &*self.public {
            [4, point @ ..] if point.len() == 64 => {
                let (x, y) = point.split_at(32);
                let (x, y) = (text(x), text(y));
                json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "use": "sig"})
            }
            x => json!({"kty": "OKP", "crv": "Ed25519", "x": text(x), "kid": kid, "alg": "EdDSA"}),
        }
    }

    fn pem(&self) -> String {
        let prefix: &[u8] = match self.algorithm {
            Algorithm::EdDSA => b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00",
            _ => {
                b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\
                  \x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00"
            }
        };
        pem("PUBLIC KEY", &[prefix, &self.public].concat())
    }
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn with_keys(text: &str) -> Jwt {
    Jwt::new(keys::public(text.as_bytes()).unwrap(), &[], &[])
}

fn with_secret() -> Jwt {
    Jwt::new(vec![keys::hs256(SECRET).unwrap()], &[], &[])
}

fn hs256(claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

fn claims() -> Value {
    json!({"sub": "alice", "exp": NOW + 600})
}

fn subject(decided: Option<Result<Admitted, Refused>>) -> Option<Result<String, Refused>> {
    decided.map(|it| it.map(|admitted| admitted.subject.unwrap().as_str().to_owned()))
}

fn alice() -> Option<Result<String, Refused>> {
    Some(Ok("alice".to_owned()))
}

const REFUSED: Option<Result<Admitted, Refused>> = Some(Err(Refused::Unauthorized));

#[test]
fn every_kind_of_key_verifies_its_tokens() {
    let (ed25519, p256) = (Issuer::ed25519(), Issuer::p256());
    let jwks = with_keys(&jwks(&[ed25519.jwk("a"), p256.jwk("b")]));
    let pem = with_keys(&format!("a comment\n{}{}", ed25519.pem(), p256.pem()));
    for keys in [&jwks, &pem] {
        for (issuer, kid) in [(&ed25519, "a"), (&p256, "b")] {
            for kid in [None, Some(kid)] {
                let token = issuer.sign(kid, &claims());
                assert_eq!(subject(keys.check(token.as_bytes(), NOW)), alice());
            }
        }
    }
    assert_eq!(subject(with_secret().check(hs256(&claims()).as_bytes(), NOW)), alice());
}

/// RFC 7515, A.1 and A.3.
#[test]
fn the_examples_of_the_standard_verify() {
    let p256 = json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let token = "eyJhbGciOiJFUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6\
        Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let keys = with_keys(&jwks(&[p256]));
    let admitted = keys.check(token.as_bytes(), 1_300_819_370).unwrap().unwrap();
    assert_eq!(admitted.subject, None);
    assert_eq!(admitted.expires_in, Some(Duration::from_secs(10)));

    let secret =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6\
        Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let keys =
        Jwt::new(vec![keys::hs256(&URL_SAFE_NO_PAD.decode(secret).unwrap()).unwrap()], &[], &[]);
    assert!(keys.check(token.as_bytes(), 1_300_819_370).unwrap().is_ok());
}

#[test]
fn a_token_must_expire() {
    for claims in [
        json!({"sub": "alice"}),
        json!({"sub": "alice", "exp": null}),
        json!({"sub": "alice", "exp": "1800000600"}),
        json!({"sub": "alice", "exp": [NOW]}),
    ] {
        assert_eq!(with_secret().check(hs256(&claims).as_bytes(), NOW), REFUSED, "{claims}");
    }
}

#[test]
fn the_clock_may_differ_by_a_minute() {
    for (claims, expires_in) in [
        (json!({"exp": NOW + 600}), Some(600)),
        (json!({"exp": NOW as f64 + 600.9}), Some(600)),
        (json!({"exp": NOW}), Some(1)),
        (json!({"exp": NOW - 60}), Some(1)),
        (json!({"exp": NOW - 61}), None),
        (json!({"exp": 0}), None),
        (json!({"exp": -1e300}), None),
        (json!({"exp": 1e18}), Some(u32::MAX.into())),
        (json!({"exp": 1e300}), None),
        (json!({"exp": NOW + 600, "nbf": NOW + 60}), Some(600)),
        (json!({"exp": NOW + 600, "nbf": NOW + 61}), None),
        (json!({"exp": NOW + 600, "nbf": "soon"}), None),
    ] {
        let decided = with_secret().check(hs256(&claims).as_bytes(), NOW).unwrap();
        let expected = expires_in.map(|seconds| Some(Duration::from_secs(seconds)));
        assert_eq!(decided.ok().map(|admitted| admitted.expires_in), expected, "{claims}");
    }
}

#[test]
fn audience_and_issuer_must_be_those_of_the_options() {
    let any = with_secret();
    let wanted = |text: &str| vec![text.to_owned(), "another".to_owned()];
    let keys = || vec![keys::hs256(SECRET).unwrap()];
    let strict = Jwt::new(keys(), &wanted("chat"), &wanted("login"));
    let exp = NOW + 600;
    for (claims, by_any, by_strict) in [
        (json!({"exp": exp, "aud": "chat", "iss": "login"}), false, true),
        (json!({"exp": exp, "aud": ["mail", "chat"], "iss": "another"}), false, true),
        (json!({"exp": exp, "aud": "mail", "iss": "login"}), false, false),
        (json!({"exp": exp, "aud": [], "iss": "login"}), false, false),
        (json!({"exp": exp, "aud": 1, "iss": "login"}), true, false),
        (json!({"exp": exp, "aud": "chat", "iss": "other"}), false, false),
        (json!({"exp": exp, "aud": "chat"}), false, false),
        (json!({"exp": exp, "iss": "login"}), true, false),
        (json!({"exp": exp}), true, false),
    ] {
        let token = hs256(&claims);
        for (jwt, admitted) in [(&any, by_any), (&strict, by_strict)] {
            let decided = jwt.check(token.as_bytes(), NOW).unwrap();
            assert_eq!(decided.is_ok(), admitted, "{claims}");
        }
    }
}

#[test]
fn claims_may_bring_limits_and_broken_ones_are_refused() {
    let exp = NOW + 600;
    let limits = json!({"max_connections": 2, "rate_bytes": 1000});
    let token = hs256(&json!({"exp": exp, "waddell": limits}));
    let admitted = with_secret().check(token.as_bytes(), NOW).unwrap().unwrap();
    assert_eq!(admitted.limits.max_connections, NonZeroU32::new(2));
    assert_eq!(admitted.limits.rate_frames, None);
    assert_eq!(admitted.limits.rate_bytes, NonZeroU32::new(1_000));
    for claims in [
        json!({"exp": exp, "waddell": {"max_connections": 0}}),
        json!({"exp": exp, "waddell": {"rate_frames": "many"}}),
        json!({"exp": exp, "waddell": true}),
        json!({"exp": exp, "sub": ""}),
        json!({"exp": exp, "sub": "a".repeat(256)}),
        json!({"exp": exp, "sub": 7}),
    ] {
        assert_eq!(with_secret().check(hs256(&claims).as_bytes(), NOW), REFUSED, "{claims}");
    }
}

#[test]
fn keys_for_other_purposes_are_skipped() {
    let issuer = Issuer::p256();
    let mut others: Vec<_> = ["enc", "other"]
        .map(|usage| {
            let mut key = issuer.jwk("a");
            key["use"] = usage.into();
            key
        })
        .into();
    let mut es384 = issuer.jwk("a");
    es384["alg"] = "ES384".into();
    others.extend([
        es384,
        json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
        json!({"kty": "oct", "k": "c2VjcmV0"}),
        json!({"kty": "EC", "crv": "P-384", "x": "", "y": ""}),
        json!(7),
    ]);
    let error = keys::public(jwks(&others).as_bytes()).err();
    assert_eq!(error, Some("it has no public key of Ed25519 or P-256"));
    others.push(issuer.jwk("a"));
    let token = issuer.sign(Some("a"), &claims());
    assert_eq!(subject(with_keys(&jwks(&others)).check(token.as_bytes(), NOW)), alice());
}

#[test]
fn unusable_keys_have_an_error() {
    let issuer = Issuer::p256();
    let with = |name: &str, value: &str| {
        let mut key = issuer.jwk("a");
        key[name] = value.into();
        jwks(&[key])
    };
    let (x, _) = issuer.public.split_at(33);
    let off_curve = Issuer { public: [x, &[7; 32]].concat(), ..Issuer::p256() };
    let many: Vec<_> = (0..17).map(|_| issuer.jwk("a")).collect();
    for (text, expected) in [
        (String::new(), "no public key"),
        ("{".to_owned(), "no JSON"),
        ("{}".to_owned(), "no JSON"),
        (jwks(&[]), "no public key"),
        (jwks(&many), "more than 16 keys"),
        (with("d", "AQAB"), "private key"),
        (with("x", "!"), "not Base64"),
        (with("x", "AQAB"), "broken"),
        (jwks(&[off_curve.jwk("a")]), "broken"),
        (off_curve.pem(), "broken"),
        (pem("PRIVATE KEY", b"hidden"), "private key"),
        (pem("EC PRIVATE KEY", b"hidden"), "private key"),
        (pem("PUBLIC KEY", b"\x30\x82\x01\x22RSA"), "another kind"),
        (pem("CERTIFICATE", b"\x30\x82\x01\x22"), "no public key"),
        (issuer.pem().replace("-----END", "END"), "broken"),
    ] {
        let error = keys::public(text.as_bytes()).err().unwrap_or("no error");
        assert!(error.contains(expected), "{error}: {text}");
    }
    assert_eq!(keys::hs256(&SECRET[1..]).err(), Some("the secret has fewer than 32 bytes"));
    // Space at the end does not count.
    assert!(keys::hs256(&[&SECRET[1..], b"\n\n"].concat()).is_err());
}
