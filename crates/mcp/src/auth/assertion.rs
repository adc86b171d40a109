//! Who we are, signed with a private key (RFC 7523): a JWT for the authorization server.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::json;

/// How long an assertion holds; the clocks of the two sides may differ by that.
const LIFETIME_SECONDS: u64 = 300;

/// A private key that cannot sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No key.
    #[error("it holds no private key in PEM")]
    NoPem,
    /// The old form of elliptic curve keys.
    #[error("it is an EC key in the old SEC1 form: convert it with `openssl pkcs8 -topk8 -nocrypt`")]
    Sec1,
    /// Another kind of key.
    #[error("it is no RSA (2048 bits or more), P-256, P-384 or Ed25519 key in PKCS#8")]
    Kind,
    /// The signature failed.
    #[error("it does not sign")]
    Signature,
}

/// A key that signs, by its algorithm.
pub(super) enum SigningKey {
    Es256(EcdsaKeyPair),
    Es384(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(Box<RsaKeyPair>),
}

/// What an assertion says.
pub(super) struct Claims<'a> {
    pub(super) client_id: &'a str,
    pub(super) audience: &'a str,
    /// Seconds since 1970.
    pub(super) now: u64,
    /// Never the same twice.
    pub(super) id: String,
}

impl SigningKey {
    pub(super) fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NoPem)?;
        let der = match &der {
            PrivateKeyDer::Pkcs8(der) => der.secret_pkcs8_der(),
            PrivateKeyDer::Pkcs1(der) => {
                let key = RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|_| KeyError::Kind)?;
                return Ok(Self::Rs256(Box::new(key)));
            }
            PrivateKeyDer::Sec1(_) => return Err(KeyError::Sec1),
            _ => return Err(KeyError::Kind),
        };
        let random = SystemRandom::new();
        if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random) {
            return Ok(Self::Es256(key));
        }
        if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, der, &random) {
            return Ok(Self::Es384(key));
        }
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self::EdDsa(key));
        }
        RsaKeyPair::from_pkcs8(der).map(|key| Self::Rs256(Box::new(key))).map_err(|_| KeyError::Kind)
    }

    /// The signed assertion.
    pub(super) fn assertion(&self, claims: &Claims<'_>) -> Result<String, KeyError> {
        let header = json!({"alg": self.algorithm(), "typ": "JWT"});
        let claims = json!({
            "iss": claims.client_id, "sub": claims.client_id, "aud": claims.audience,
            "iat": claims.now, "exp": claims.now + LIFETIME_SECONDS, "jti": claims.id,
        });
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::Es384(_) => "ES384",
            Self::EdDsa(_) => "EdDSA",
            Self::Rs256(_) => "RS256",
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match self {
            Self::Es256(key) | Self::Es384(key) => {
                key.sign(&random, message).map(|signature| signature.as_ref().to_vec()).map_err(|_| KeyError::Signature)
            }
            Self::EdDsa(key) => Ok(key.sign(message).as_ref().to_vec()),
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                let signed = key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                signed.map(|()| signature).map_err(|_| KeyError::Signature)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use ring::signature::{ED25519, KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm};

    use super::*;

    fn holds(key: &SigningKey, algorithm: &'static dyn VerificationAlgorithm, public: &[u8], name: &str) {
        let claims = Claims { client_id: "me", audience: "you", now: 7, id: "once".to_owned() };
        let assertion = key.assertion(&claims).unwrap();
        let (signed, signature) = assertion.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(algorithm, public).verify(signed.as_bytes(), &signature).unwrap();
        let header = URL_SAFE_NO_PAD.decode(signed.split('.').next().unwrap()).unwrap();
        assert_eq!(header, json!({"alg": name, "typ": "JWT"}).to_string().into_bytes());
    }

    #[test]
    fn an_rsa_key_in_the_old_form_signs() {
        let key = SigningKey::from_pem(include_str!("../../tests/it/rsa_key.pem")).unwrap();
        let SigningKey::Rs256(pair) = &key else { panic!() };
        let public = pair.public_key().as_ref().to_vec();
        holds(&key, &RSA_PKCS1_2048_8192_SHA256, &public, "RS256");
    }

    #[test]
    fn an_edwards_key_signs() {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pem = STANDARD.encode(document.as_ref());
        let key =
            SigningKey::from_pem(&format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n")).unwrap();
        let SigningKey::EdDsa(pair) = &key else { panic!() };
        let public = pair.public_key().as_ref().to_vec();
        holds(&key, &ED25519, &public, "EdDSA");
    }
}
