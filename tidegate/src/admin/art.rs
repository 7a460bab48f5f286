//! LOLWUT: a tide of sines, drawn anew each time.

use data::Reply;
use std::f64::consts::TAU;
use std::fmt::Write;

const WIDTH: u32 = 64;
const HEIGHT: u32 = 9;

/// LOLWUT, whatever is asked for besides. The last line tells the versions.
pub fn lolwut(seed: u64) -> Reply {
    let mut text = String::new();
    let phase = f64::from(u32::try_from(seed % 1000).unwrap_or(0)) / 1000.0 * TAU;
    let surface = |x: u32| {
        let at = f64::from(x) / f64::from(WIDTH) * TAU;
        f64::from(HEIGHT) / 2.0 + 2.5 * (at * 2.0 + phase).sin() + 1.2 * (at * 5.0 - phase).cos()
    };
    for y in 0..HEIGHT {
        let row: String = (0..WIDTH)
            .map(|x| match f64::from(y) - surface(x) {
                below if below > 2.0 => ':',
                below if below > 0.0 => '~',
                _ => ' ',
            })
            .collect();
        let _ = writeln!(text, "{}", row.trim_end());
    }
    let _ = writeln!(text, "\nTidegate {}, which answers as Redis ver. 7.0.15 does", env!("CARGO_PKG_VERSION"));
    Reply::Verbatim(text)
}
