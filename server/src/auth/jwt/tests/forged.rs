//! Tokens that no key has signed, or not as they say.

use proptest::prelude::*;

use super::*;

/// Makes a token of any header and signature.
fn by_hand(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn hmac_sign(key: &[u8]) -> impl FnOnce(&[u8]) -> Vec<u8> {
    use aws_lc_rs::hmac;
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    move |message| hmac::sign(&key, message).as_ref().to_owned()
}

#[test]
fn a_token_without_a_signature_is_unknown() {
    let issuer = Issuer::p256();
    let mut all = keys::public(issuer.pem().as_bytes()).unwrap();
    all.push(keys::hs256(SECRET).unwrap());
    let both = Jwt::new(all, &[], &[]);
    for alg in ["none", "None", "NONE", "", "HS256", "ES256"] {
        let token = by_hand(&json!({ "alg": alg }), &claims(), |_| Vec::new());
        assert_eq!(both.check(token.as_bytes(), NOW), None, "{alg}");
    }
    for token in ["", ".", "..", "...", "a.b.c", "\u{e9}.\u{e9}.\u{e9}", "e30.e30."] {
        assert_eq!(both.check(token.as_bytes(), NOW), None, "{token}");
    }
    assert_eq!(both.check(b"\xff.\xff.\xff", NOW), None);
}

#[test]
fn a_public_key_is_no_secret() {
    for issuer in [Issuer::ed25519(), Issuer::p256()] {
        let pem = issuer.pem();
        for (text, with_a_secret) in [(pem.clone(), false), (jwks(&[issuer.jwk("a")]), true)] {
            let mut all = keys::public(text.as_bytes()).unwrap();
            if with_a_secret {
                all.push(keys::hs256(SECRET).unwrap());
            }
            let keys = Jwt::new(all, &[], &[]);
            for secret in [pem.as_bytes(), pem.trim().as_bytes(), &issuer.public, text.as_bytes()] {
                let header = json!({"alg": "HS256", "typ": "JWT"});
                let token = by_hand(&header, &claims(), hmac_sign(secret));
                assert_eq!(keys.check(token.as_bytes(), NOW), None);
            }
        }
    }
}

#[test]
fn the_algorithm_is_that_of_the_key() {
    for alg in ["HS384", "HS512", "ES256", "EdDSA", "RS256"] {
        let token = by_hand(&json!({ "alg": alg }), &claims(), hmac_sign(SECRET));
        assert_eq!(with_secret().check(token.as_bytes(), NOW), None, "{alg}");
    }
}

#[test]
fn a_key_in_the_header_is_not_used() {
    let (known, forger) = (Issuer::ed25519(), Issuer::ed25519());
    let keys = with_keys(&jwks(&[known.jwk("a")]));
    let jwk = serde_json::from_value(forger.jwk("a")).unwrap();
    let header =
        Header { jwk: Some(jwk), kid: Some("a".to_owned()), ..Header::new(Algorithm::EdDSA) };
    let token = encode(&header, &claims(), &forger.private).unwrap();
    assert_eq!(keys.check(token.as_bytes(), NOW), None);
}

#[test]
fn a_token_that_names_another_key_is_unknown() {
    let (first, second) = (Issuer::ed25519(), Issuer::ed25519());
    let keys = with_keys(&jwks(&[first.jwk("a"), second.jwk("b")]));
    for (kid, known) in [(Some("a"), true), (None, true), (Some("b"), false), (Some("c"), false)] {
        let token = first.sign(kid, &claims());
        assert_eq!(keys.check(token.as_bytes(), NOW).is_some(), known, "{kid:?}");
    }
}

#[test]
fn a_token_with_a_critical_extension_is_unknown() {
    let header = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    let token = by_hand(&header, &claims(), hmac_sign(SECRET));
    assert_eq!(with_secret().check(token.as_bytes(), NOW), None);
}

#[test]
fn a_changed_token_is_unknown() {
    let token = hs256(&claims());
    for place in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        let decided = with_secret().check(&changed, NOW);
        assert_eq!(decided, None, "byte {place}");
    }
}

fn header() -> impl Strategy<Value = String> {
    let json = prop_oneof![
        Just(r#"{"alg":"HS256"}"#.to_owned()),
        Just(r#"{"alg":"ES256","kid":"a"}"#.to_owned()),
        r#"\{"alg":"(HS256|EdDSA|none)","[a-z5]{1,4}":["\[{0-9]{0,9}.*"#,
    ];
    json.prop_map(|json| URL_SAFE_NO_PAD.encode(json))
}

proptest! {
    #[test]
    fn any_bytes_are_unknown(
        header in header(),
        rest in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'.'), b'A'..=b'Z'], 0..99),
    ) {
        let issuer = Issuer::p256();
        let mut all = keys::public(issuer.pem().as_bytes()).unwrap();
        all.push(keys::hs256(SECRET).unwrap());
        let both = Jwt::new(all, &[], &[]);
        let claims = URL_SAFE_NO_PAD.encode(claims().to_string());
        for begin in [String::new(), format!("{header}."), format!("{header}.{claims}.")] {
            let token = [begin.as_bytes(), &rest].concat();
            prop_assert_eq!(both.check(&token, NOW), None);
        }
    }
}
