//! Values of the file that are written as people write them; each refuses what it can't be, where it stands.

use serde::de::{Deserialize, Deserializer, Error};
use std::time::Duration;

/// A time, as 250ms, 5s, 2m or 1h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

/// A number of bytes, as 512, 64kb, 8mb or 2gb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// An endpoint or a listener, as host:port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(pub String);

/// A network, as 10.0.0.0/8, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: u128,
    bits: u32,
}

const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl Time {
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub fn ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    fn parse(text: &str) -> Option<Self> {
        let unit = text.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = text[..unit].parse().ok()?;
        let ms = match &text[unit..] {
            "ms" => number,
            "s" => number.checked_mul(1000)?,
            "m" => number.checked_mul(60_000)?,
            "h" => number.checked_mul(3_600_000)?,
            _ => return None,
        };
        Some(Duration::from_millis(ms)).filter(|time| *time <= TIME_MAX).map(Self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let why = || {
            Error::custom(format!(
                "'{text}' is no time; give one as \"250ms\", \"5s\", \"2m\" or \"1h\", of 24h at most"
            ))
        };
        Self::parse(&text).ok_or_else(why)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let why = || Error::custom(format!("'{text}' is no size; give bytes, or as \"64kb\", \"8mb\" or \"2gb\""));
        crate::admin::limit::bytes(&text).map(Self).ok_or_else(why)
    }
}

impl Address {
    /// An address, if the text is one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::is_whole(text).then(|| Self(text.to_owned()))
    }

    /// What stands before its port.
    pub fn host(&self) -> &str {
        self.0.rsplit_once(':').map_or(&self.0, |(host, _)| host)
    }

    /// True if it names a host and a port.
    fn is_whole(text: &str) -> bool {
        let Some((host, port)) = text.rsplit_once(':') else { return false };
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty() && (bracketed || !host.contains(':')) && port.parse::<u16>().is_ok()
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if !Self::is_whole(&text) {
            let why = format!("'{text}' is no address; give host and port, as \"127.0.0.1:8080\" or \"[::1]:8080\"");
            return Err(Error::custom(why));
        }
        Ok(Self(text))
    }
}

impl Network {
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: std::net::IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits: u32 = bits.map_or(Some(most), |bits| bits.parse().ok()).filter(|bits| *bits <= most)?;
        let bits = bits + (128 - most);
        Some(Self { first: mapped(address) & mask(bits), bits })
    }

    pub fn holds(&self, address: std::net::IpAddr) -> bool {
        mapped(address) & mask(self.bits) == self.first
    }
}

/// Addresses of both families in one space.
fn mapped(address: std::net::IpAddr) -> u128 {
    match address {
        std::net::IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        std::net::IpAddr::V6(address) => address.to_bits(),
    }
}

fn mask(bits: u32) -> u128 {
    if bits == 0 { 0 } else { u128::MAX << (128 - bits) }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let why = || Error::custom(format!("'{text}' is no network; give one as \"10.0.0.0/8\" or one address"));
        Self::parse(&text).ok_or_else(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(Time::parse("250ms"), Some(Time(Duration::from_millis(250))));
        assert_eq!(Time::parse("2m"), Some(Time::seconds(120)));
        for bad in ["", "5", "s", "5 s", "-5s", "25h", "1.5s", "99999999999999999999s"] {
            assert_eq!(Time::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn networks_hold_their_addresses() {
        let network = Network::parse("10.1.0.0/16").unwrap();
        let holds = |network: &Network, text: &str| network.holds(text.parse().unwrap());
        assert!(holds(&network, "10.1.2.3") && !holds(&network, "10.2.0.1") && holds(&network, "::ffff:10.1.0.9"));
        let (all, one) = (Network::parse("0.0.0.0/0").unwrap(), Network::parse("::1").unwrap());
        assert!(holds(&all, "9.9.9.9") && !holds(&all, "::1") && holds(&one, "::1"));
        assert_eq!((Network::parse("10.0.0.0/33"), Network::parse("x/8")), (None, None));
    }

    #[test]
    fn addresses_have_host_and_port() {
        for good in ["127.0.0.1:80", "[::1]:80", "app:8000"] {
            assert!(Address::is_whole(good), "{good}");
        }
        for bad in ["127.0.0.1", ":80", "::1:80", "a:b", "a:70000", ""] {
            assert!(!Address::is_whole(bad), "{bad}");
        }
    }
}
