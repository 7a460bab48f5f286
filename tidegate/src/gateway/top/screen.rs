//! The screen: a line for each service, and below it the endpoints of the one that is chosen.

use super::sight::{Sight, number};
use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Sparkline, Table};
use serde_json::Value;

/// A column: its title, its width, and what stands in it.
type Column = (&'static str, u16, fn(&Value) -> String);

const SERVICE: [Column; 11] = [
    ("offered/s", 10, |one| format!("{:.0}", number(one, "offered_per_s"))),
    ("λ/s", 9, |one| format!("{:.0}", number(one, "admitted_per_s"))),
    ("shed/s", 8, |one| format!("{:.0}", number(one, "shed_per_s"))),
    ("W ms", 9, |one| format!("{:.2}", number(one, "mean_inside_ms") + number(one, "mean_wait_ms"))),
    ("wait ms", 9, |one| format!("{:.2}", number(one, "mean_wait_ms"))),
    ("L", 8, |one| format!("{:.1}", number(one, "mean_inside"))),
    ("limit", 7, limit),
    ("used", 6, |one| format!("{:.0} %", used(one) * 100.0)),
    ("|L-λW|", 7, |one| format!("{:.1} %", number(one, "residual") * 100.0)),
    ("retries", 9, |one| format!("{:.0}", number(one, "retries"))),
    ("5xx", 9, |one| format!("{:.0}", number(&one["answers"], "5xx"))),
];

const ENDPOINT: [Column; 6] = [
    ("weight", 7, |one| format!("{:.0}", number(one, "weight"))),
    ("in flight", 10, |one| format!("{:.0}", number(one, "in_flight"))),
    ("idle", 6, |one| format!("{:.0}", number(one, "idle_connections"))),
    ("requests", 12, |one| format!("{:.0}", number(one, "requests"))),
    ("errors", 9, |one| format!("{:.0}", number(one, "errors"))),
    ("latency ms", 11, |one| format!("{:.2}", number(one, "latency_us") / 1e3)),
];

/// Above this a limit isn't one.
const LIMIT_MAX: f64 = 1e6;
const NAME_COLUMNS: u16 = 18;
const SPARK_ROWS: u16 = 3;

fn limit(service: &Value) -> String {
    let limit = number(service, "limit");
    if limit < LIMIT_MAX { format!("{limit:.0}") } else { "off".to_owned() }
}

fn used(service: &Value) -> f64 {
    let limit = number(service, "limit");
    if limit > 0.0 && limit < LIMIT_MAX { number(service, "mean_inside") / limit } else { 0.0 }
}

/// Draws all; `lost` says why the gateway doesn't answer any more.
pub fn draw(frame: &mut Frame<'_>, sight: &Sight, chosen: usize, lost: Option<&str>) {
    let count = u16::try_from(sight.services.len()).unwrap_or(u16::MAX);
    let rows = [2, count.saturating_add(2), SPARK_ROWS + 1, 0].map(Constraint::Length);
    let [top, services, rates, _] = Layout::vertical(rows).areas(frame.area());
    let below =
        Rect { y: rates.bottom(), height: frame.area().bottom().saturating_sub(rates.bottom()), ..frame.area() };
    frame.render_widget(Paragraph::new(title(sight, lost)), top);
    let rows: Vec<Row<'_>> = sight
        .services
        .iter()
        .enumerate()
        .map(|(at, one)| {
            let style = if at == chosen { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
            cells(word(one, "name"), &SERVICE, one).style(style.fg(colour_of_service(one)))
        })
        .collect();
    frame.render_widget(table("service", &SERVICE, rows), services);
    let Some(service) = sight.services.get(chosen) else { return };
    let history = sight.rates.iter().find(|(name, _)| Some(name.as_str()) == service["name"].as_str());
    if let Some((name, history)) = history {
        let [head, spark] = Layout::vertical([1, SPARK_ROWS].map(Constraint::Length)).areas(rates);
        let most = history.iter().max().copied().unwrap_or(0);
        frame.render_widget(Paragraph::new(format!("{name}: offered/s, at most {most}")), head);
        let shown = history.iter().rev().take(usize::from(spark.width)).rev().copied();
        frame.render_widget(Sparkline::default().data(shown.collect::<Vec<_>>()), spark);
    }
    let endpoints = service["endpoints"].as_array().map_or(&[][..], Vec::as_slice);
    let rows = endpoints.iter().map(|one| {
        let state = word(one, "state");
        let name = format!("{} {state}", word(one, "address"));
        cells(name, &ENDPOINT, one).style(Style::new().fg(colour_of_state(&state)))
    });
    let widths = std::iter::once(Constraint::Min(NAME_COLUMNS * 2)).chain(widths(&ENDPOINT));
    frame.render_widget(Table::new(rows, widths).header(header("endpoint", &ENDPOINT)), below);
}

/// The same as text, in so many columns.
pub fn text(sight: &Sight, columns: u16) -> String {
    let endpoints: usize = sight.services.first().and_then(|one| one["endpoints"].as_array()).map_or(0, Vec::len);
    let rows = sight.services.len() + endpoints + usize::from(SPARK_ROWS) + 8;
    let backend = TestBackend::new(columns, u16::try_from(rows).unwrap_or(u16::MAX));
    let Ok(mut terminal) = Terminal::new(backend);
    let Ok(_) = terminal.draw(|frame| draw(frame, sight, 0, None));
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(usize::from(columns).max(1));
    let lines: Vec<String> = lines
        .map(|line| line.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned())
        .collect();
    lines.join("\n").trim_end().to_owned() + "\n"
}

fn title(sight: &Sight, lost: Option<&str>) -> Line<'static> {
    if let Some(why) = lost {
        return Line::from(Span::styled(why.to_owned(), Style::new().fg(Color::Red)));
    }
    let process = &sight.process;
    let cores = sight.cores.map_or(String::new(), |cores| format!("  CPU {:.0} %", cores * 100.0));
    let file = match process["file"]["why"].as_str() {
        Some(why) => format!("  the file is refused: {why}"),
        None => String::new(),
    };
    let text = format!(
        "gateway {}  {}  lanes {}  connections {}{cores}{file}   (q ends, up and down choose)",
        word(process, "pid"),
        word(process, "state"),
        word(process, "lanes"),
        word(process, "connections")
    );
    Line::from(Span::styled(text, Style::new().add_modifier(Modifier::BOLD)))
}

fn table<'a>(name: &'static str, columns: &[Column], rows: Vec<Row<'a>>) -> Table<'a> {
    let widths = std::iter::once(Constraint::Min(NAME_COLUMNS)).chain(widths(columns));
    Table::new(rows, widths).header(header(name, columns))
}

fn widths(columns: &[Column]) -> impl Iterator<Item = Constraint> {
    columns.iter().map(|(_, width, _)| Constraint::Length(*width))
}

fn header(name: &'static str, columns: &[Column]) -> Row<'static> {
    let titles = columns.iter().map(|(title, ..)| Cell::from(Line::from(*title).right_aligned()));
    Row::new(std::iter::once(Cell::from(name)).chain(titles)).style(Style::new().add_modifier(Modifier::BOLD))
}

fn cells(name: String, columns: &[Column], of: &Value) -> Row<'static> {
    let values = columns.iter().map(|(_, _, value)| Cell::from(Line::from(value(of)).right_aligned()));
    Row::new(std::iter::once(Cell::from(name)).chain(values))
}

/// A name as it may be shown: nothing that a terminal would obey.
fn word(value: &Value, field: &str) -> String {
    match &value[field] {
        Value::String(text) => text.chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn colour_of_service(service: &Value) -> Color {
    let endpoints = service["endpoints"].as_array().map_or(&[][..], Vec::as_slice);
    let any_active = endpoints.iter().any(|one| one["state"] == "active");
    match (any_active, number(service, "shed_per_s") > 0.0) {
        (false, _) => Color::Red,
        (true, true) => Color::Yellow,
        (true, false) => Color::Reset,
    }
}

fn colour_of_state(state: &str) -> Color {
    match state {
        "active" => Color::Reset,
        "draining" => Color::Yellow,
        _ => Color::Red,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_for_each_service_and_the_endpoints_of_the_first() {
        let process = json!({"pid": 7, "state": "serving", "lanes": 2, "connections": 3, "file": {"why": null}});
        let endpoint = |address: &str, state: &str| json!({"address": address, "state": state, "in_flight": 4, "latency_us": 2500});
        let services = vec![
            json!({"name": "shop\u{1b}[2J", "offered_per_s": 1234.4, "admitted_per_s": 1200.0, "shed_per_s": 34.0, "mean_inside_ms": 9.5,
                "mean_wait_ms": 0.5, "mean_inside": 11.4, "limit": 20, "residual": 0.012, "answers": {"5xx": 6},
                "endpoints": [endpoint("10.0.0.1:80", "active"), endpoint("10.0.0.2:80", "ejected")]}),
            json!({"name": "api", "limit": 4_294_967_295u32, "endpoints": [endpoint("10.0.0.9:80", "active")]}),
        ];
        let text = text(&Sight::of((process, services), None), 140);
        for part in
            ["gateway 7  serving", "shop?[2J", "1234", "10.00", "57 %", "1.2 %", "off", "10.0.0.2:80 ejected", "2.50"]
        {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains("10.0.0.9") && !text.contains('\u{1b}'), "{text}");
    }
}
