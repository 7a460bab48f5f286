//! The picture and the table of docs/ring.md, made from what was measured.

use crate::Row;
use crate::measure::Measured;
use std::fmt::Write;

/// A line of a panel: which numbers, and how they are drawn.
struct Line {
    name: &'static str,
    color: &'static str,
    of: fn(&Row) -> Measured,
}

const LINES: [Line; 3] = [
    Line { name: "plain ring, worst node", color: "#0072b2", of: |row| row.plain },
    Line { name: "bounded ring, 200 items per node or more", color: "#d55e00", of: |row| row.bounded },
    Line { name: "placement, 1,024 shards with 3 replicas", color: "#009e73", of: |row| row.placement },
];

/// One of the two drawings: its numbers go from `low` to `high`, with a line across every tenth.
struct Panel {
    title: &'static str,
    left: f64,
    low: f64,
    high: f64,
    /// Bars, and how many of the sizes each is for.
    bars: &'static [(f64, usize)],
    value: fn(Measured) -> f64,
}

const PANELS: [Panel; 2] = [
    Panel {
        title: "moved when a node joins or leaves / (K / n)",
        left: 50.0,
        low: 0.9,
        high: 1.6,
        bars: &[(1.1, 12), (1.5, 8)],
        value: |measured| measured.moved,
    },
    Panel {
        title: "largest load / mean load",
        left: 460.0,
        low: 0.9,
        high: 1.6,
        bars: &[(1.1, 12)],
        value: |measured| measured.load,
    },
];

const WIDTH: f64 = 340.0;
const TOP: f64 = 70.0;
const HEIGHT: f64 = 260.0;

/// The table, as Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| nodes | plain: moved | bounded: moved | bounded: load | placement: moved | placement: load |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let (n, plain, bounded, placement) = (row.plain.nodes, row.plain, row.bounded, row.placement);
        let cells = [plain.moved, bounded.moved, bounded.load, placement.moved, placement.load];
        let cells = cells.map(|cell| format!("{cell:.3}")).join(" | ");
        writeln!(out, "| {n} | {cells} |").expect("a string takes it");
    }
    out
}

/// The picture, as SVG.
pub fn picture(rows: &[Row]) -> String {
    let mut out = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 820 370\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"820\" height=\"370\" fill=\"#fff\"/>\n",
    );
    for (line, x) in LINES.iter().zip([50, 220, 490]) {
        let Line { name, color, .. } = line;
        put(
            &mut out,
            &format!(
                "<circle cx=\"{x}\" cy=\"20\" r=\"4\" fill=\"{color}\"/><text x=\"{}\" y=\"24\">{name}</text>",
                x + 9
            ),
        );
    }
    for panel in &PANELS {
        panel.draw(&mut out, rows);
    }
    put(&mut out, "</svg>");
    out
}

impl Panel {
    fn draw(&self, out: &mut String, rows: &[Row]) {
        let (left, right) = (self.left, self.left + WIDTH);
        put(out, &format!("<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{}</text>", TOP - 14.0, self.title));
        for tenth in 9..=16 {
            let (value, y) = (f64::from(tenth) / 10.0, self.y(f64::from(tenth) / 10.0));
            put(
                out,
                &format!(
                    "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.1}</text>",
                    left - 6.0,
                    y + 4.0
                ),
            );
        }
        for (at, row) in rows.iter().enumerate() {
            put(
                out,
                &format!(
                    "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                    self.x(at, rows),
                    TOP + HEIGHT + 18.0,
                    row.plain.nodes
                ),
            );
        }
        put(
            out,
            &format!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">nodes</text>",
                left + WIDTH / 2.0,
                TOP + HEIGHT + 34.0
            ),
        );
        for (bar, sizes) in self.bars {
            let (y, end) = (self.y(*bar), self.x(sizes - 1, rows));
            put(
                out,
                &format!(
                    "<path d=\"M{left} {y:.1}H{end:.1}\" stroke=\"#333\" stroke-dasharray=\"5 4\"/><text x=\"{}\" y=\"{:.1}\">bar {bar}</text>",
                    left + 4.0,
                    y - 5.0
                ),
            );
        }
        for line in &LINES {
            self.draw_line(out, line, rows);
        }
    }

    fn draw_line(&self, out: &mut String, line: &Line, rows: &[Row]) {
        let places = rows.iter().enumerate().map(|(at, row)| (self.x(at, rows), self.y((self.value)((line.of)(row)))));
        let places: Vec<(f64, f64)> = places.collect();
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let color = line.color;
        put(out, &format!("<path d=\"M{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>", path.join("L")));
        for (x, y) in places {
            put(out, &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{color}\"/>"));
        }
    }

    /// Sizes stand at equal distances.
    fn x(&self, at: usize, rows: &[Row]) -> f64 {
        let part = |count: usize| f64::from(u16::try_from(count).expect("few sizes"));
        self.left + WIDTH * (part(at) + 0.5) / part(rows.len())
    }

    fn y(&self, value: f64) -> f64 {
        TOP + HEIGHT * (self.high - value) / (self.high - self.low)
    }
}

fn put(out: &mut String, element: &str) {
    out.push_str(element);
    out.push('\n');
}
