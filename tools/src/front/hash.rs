//! Password hashes: argon2 in PHC strings (RFC 9106, and the PHC string format).

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

/// A hash that has been read and can be checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash(Box<str>);

/// Why a text is not taken for a hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Plain text, or a scheme of another server.
    #[error("not an argon2 hash ($argon2id$v=19$...); `torpor passwd USER` makes one")]
    NotArgon2,
    /// The scheme is right and the rest is not.
    #[error("a broken argon2 hash: {0}")]
    Broken(String),
    /// One check would take more memory than a server should spend on a password.
    #[error("m={0} is more than {MEMORY_KIB_MAX} KiB a check")]
    Costly(u32),
}

/// What a hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Cost {
    /// 8 KiB, once: for load tests and demos, not for people
    Low,
    /// 19 MiB, twice (OWASP)
    Default,
}

impl Hash {
    /// Reads a hash, with the `{ARGON2ID}` or `{ARGON2I}` that Dovecot writes before it or bare.
    ///
    /// # Errors
    /// It could never be checked; better said when the file is read than at a login.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let bare = SCHEMES.iter().find_map(|scheme| {
            let head = text.get(..scheme.len())?;
            head.eq_ignore_ascii_case(scheme).then(|| &text[scheme.len()..])
        });
        let bare = bare.unwrap_or(text);
        if !bare.starts_with("$argon2") {
            return Err(HashError::NotArgon2);
        }
        let broken = |error: argon2::password_hash::Error| HashError::Broken(error.to_string());
        let hash = PasswordHash::new(bare).map_err(broken)?;
        Algorithm::try_from(hash.algorithm).map_err(broken)?;
        let params = Params::try_from(&hash).map_err(broken)?;
        if hash.hash.is_none() || hash.salt.is_none() {
            return Err(HashError::Broken("salt or output is missing".to_owned()));
        }
        match params.m_cost() {
            memory_kib if memory_kib > MEMORY_KIB_MAX => Err(HashError::Costly(memory_kib)),
            _ => Ok(Self(bare.into())),
        }
    }

    /// Makes one with a salt of its own.
    pub fn make(password: &[u8], cost: Cost) -> Self {
        let params = match cost {
            Cost::Low => Params::new(Params::MIN_M_COST, 1, 1, None),
            Cost::Default => Ok(Params::default()),
        };
        let params = params.expect("bounds of the crate itself");
        let salt = SaltString::generate(&mut OsRng);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = argon2.hash_password(password, &salt);
        // A password is refused only beyond 4 GiB.
        Self(hash.expect("a password fits into memory").to_string().into())
    }

    /// True when `password` is the one. Takes the time and memory that the hash asks for.
    pub fn fits(&self, password: &[u8]) -> bool {
        #[cfg(test)]
        tests::CHECKS.with(|checks| checks.set(checks.get() + 1));
        // `parse` has seen that it can be read.
        let hash = PasswordHash::new(&self.0).expect("a hash that was parsed");
        Argon2::default().verify_password(password, &hash).is_ok()
    }

    /// The PHC string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Hashes are for nobody's eyes.
impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash(..)")
    }
}

const SCHEMES: [&str; 3] = ["{ARGON2ID}", "{ARGON2I}", "{ARGON2D}"];
const MEMORY_KIB_MAX: u32 = 1 << 20;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        /// How often this thread has computed a hash to compare.
        pub static CHECKS: Cell<u32> = const { Cell::new(0) };
    }

    #[test]
    fn a_hash_fits_its_password_and_no_other() {
        let hash = Hash::make(b"open sesame", Cost::Low);
        assert!(hash.fits(b"open sesame"));
        assert!(!hash.fits(b"open sesame "));
        assert!(!hash.fits(b""));
        assert_ne!(hash, Hash::make(b"open sesame", Cost::Low), "every hash has its own salt");
        assert_eq!(Hash::parse(hash.as_str()), Ok(hash.clone()));
        assert_eq!(Hash::parse(&format!("{{argon2id}}{}", hash.as_str())), Ok(hash.clone()));
        assert!(!format!("{hash:?}").contains("argon2"));
    }

    #[test]
    fn what_could_never_be_checked_is_refused() {
        let whole = Hash::make(b"x", Cost::Low).as_str().to_owned();
        let cut = whole.rsplit_once('$').expect("a PHC string").0;
        let costly = whole.replace("m=8,", "m=2000000,");
        for text in ["", "{PLAIN}x", "{CRYPT}$6$a$b", "$argon2x$v=19$m=8,t=1,p=1$YWJjZGVmZ2g$YQ"] {
            assert!(Hash::parse(text).is_err(), "{text}");
        }
        assert!(matches!(Hash::parse(cut), Err(HashError::Broken(_))));
        assert_eq!(Hash::parse(&costly), Err(HashError::Costly(2_000_000)));
        assert!(
            Hash::parse("\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}").is_err(),
            "no slice inside of a char"
        );
    }
}
