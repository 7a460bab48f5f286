//! The dates of HTTP (RFC 9110, 5.6.7): all three forms are read, the first is written. Seconds since the Unix epoch.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const DAY_S: u64 = 86_400;

/// Reads a date; nothing if it is none, or lies before 1970.
#[must_use]
pub fn parse(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let words: Vec<&[u8]> = text.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
    let (day, month, year, time) = match words.as_slice() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        [name, day, month, year, time, b"GMT"] if name.ends_with(b",") && year.len() == 4 => {
            (number(day)?, month_of(month)?, number(year)?, time)
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        [name, date, time, b"GMT"] if name.ends_with(b",") => {
            let parts: Vec<&[u8]> = date.split(|byte| *byte == b'-').collect();
            let [day, month, year] = parts.as_slice() else { return None };
            let year = number(year).filter(|_| year.len() == 2)?;
            // Two digits are the century in which this format still was in use, or ours.
            (number(day)?, month_of(month)?, if year >= 70 { 1900 + year } else { 2000 + year }, time)
        }
        // Sun Nov  6 08:49:37 1994
        [_, month, day, time, year] if year.len() == 4 => (number(day)?, month_of(month)?, number(year)?, time),
        _ => return None,
    };
    let parts: Vec<&[u8]> = time.split(|byte| *byte == b':').collect();
    let [hour, minute, second] = parts.as_slice() else { return None };
    let two = |part: &[u8], most: u64| number(part).filter(|number| part.len() == 2 && *number <= most);
    // A leap second is the first of the next minute.
    let seconds = two(hour, 23)? * 3600 + two(minute, 59)? * 60 + two(second, 60)?;
    if !(1970..=9999).contains(&year) || day == 0 || day > days_of(year, month) {
        return None;
    }
    Some(days_before(year, month, day) * DAY_S + seconds)
}

/// Writes a date.
#[must_use]
pub fn format(seconds: u64) -> String {
    let (days, rest) = (seconds / DAY_S, seconds % DAY_S);
    let mut year = 1970 + days / 366;
    while days_before(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days_before(year, month + 1, 1) <= days {
        month += 1;
    }
    let day = days - days_before(year, month, 1) + 1;
    let place = |number: u64| usize::try_from(number).unwrap_or(0);
    let (name, month) = (DAYS[place(days % 7)], String::from_utf8_lossy(MONTHS[place(month - 1)]));
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{name}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

fn number(digits: &[u8]) -> Option<u64> {
    let all = !digits.is_empty() && digits.len() <= 4 && digits.iter().all(u8::is_ascii_digit);
    all.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// One to twelve.
fn month_of(name: &[u8]) -> Option<u64> {
    (1..).zip(MONTHS).find(|(_, month)| *month == name).map(|(number, _)| number)
}

fn is_leap(year: u64) -> bool {
    (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the epoch to a day.
fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let years = year - 1;
    // Leap days up to the year before, less those before 1970.
    let leaps = years / 4 - years / 100 + years / 400 - 477;
    let months: u64 = (1..month).map(|month| days_of(year, month)).sum();
    (year - 1970) * 365 + leaps + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_are_read() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(parse(text.as_bytes()), Some(784_111_777), "{text}");
        }
        assert_eq!(parse(b"Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "0",
            "-1",
            "now",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Now 1994 08:49:37 GMT",
            "Thu, 29 Feb 2023 00:00:00 GMT",
            "Sun, 06 Nov 1960 08:49:37 GMT",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        assert_eq!(format(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        let mut seconds = 0;
        while seconds < 250_000_000_000 {
            assert_eq!(parse(format(seconds).as_bytes()), Some(seconds), "{}", format(seconds));
            seconds += 86_400 * 13 + 3_607;
        }
    }
}
