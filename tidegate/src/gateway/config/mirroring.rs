//! What the file says of copies of a route's requests.

use super::Wrong;
use super::values::Size;
use crate::gateway::mirror;
use serde::Deserialize;
use toml::Spanned;

/// `mirror = { service = "next", percent = 10 }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    pub service: Spanned<String>,
    /// Of the route's requests.
    #[serde(default = "all")]
    pub percent: Spanned<u8>,
    /// A request with a longer body isn't copied.
    #[serde(default = "body")]
    pub body: Size,
}

fn all() -> Spanned<u8> {
    Spanned::new(0..0, 100)
}

fn body() -> Size {
    Size(64 * 1024)
}

impl Mirror {
    /// With the place of its service.
    pub fn of(&self, text: &str, service: usize) -> Result<mirror::Mirror, Wrong> {
        let percent = *self.percent.get_ref();
        if !(1..=100).contains(&percent) {
            let why = format!("mirror.percent is {percent}; give 1 to 100, or leave the mirror out");
            return Err(Wrong::at(text, &self.percent.span(), why));
        }
        let body_bytes_max = usize::try_from(self.body.0).ok().filter(|bytes| *bytes <= BODY_BYTES_MOST);
        let body_bytes_max = body_bytes_max.ok_or_else(|| {
            Wrong::at(text, &self.service.span(), "mirror.body is more than 1mb: copies are kept in memory".to_owned())
        })?;
        Ok(mirror::Mirror { service, percent: u64::from(percent), body_bytes_max })
    }
}

const BODY_BYTES_MOST: usize = 1 << 20;
