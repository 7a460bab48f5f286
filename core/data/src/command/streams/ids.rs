//! IDs as clients spell them.

use crate::Refused;
use crate::value::stream::Id;

/// What a malformed ID is answered with.
pub(super) fn invalid() -> Refused {
    Refused::Text("ERR Invalid stream ID specified as stream command argument".to_owned())
}

/// `ms-seq`, or `ms` with `seq` as the missing number.
pub(super) fn exact(text: &[u8], seq: u64) -> Result<Id, Refused> {
    let text = std::str::from_utf8(text).map_err(|_| invalid())?;
    let number = |part: &str| match part.parse::<u64>() {
        Ok(number) if number.to_string() == part => Ok(number),
        _ => Err(invalid()),
    };
    match text.split_once('-') {
        Some((ms, seq)) => Ok(Id::new(number(ms)?, number(seq)?)),
        None => Ok(Id::new(number(text)?, seq)),
    }
}

/// The same, or `-` and `+` for the ends.
pub(super) fn or_end(text: &[u8], seq: u64) -> Result<Id, Refused> {
    match text {
        b"-" => Ok(Id::MIN),
        b"+" => Ok(Id::MAX),
        _ => exact(text, seq),
    }
}
