//! The table: one line a figure.

use serde::Serialize;

use crate::spread::Spread;

/// One line of the table.
#[derive(Serialize)]
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    /// Absent if there was nothing to measure; the note says why.
    value: Option<Spread>,
    /// What it should not exceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    aim: Option<f64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, value: Option<Spread>) -> Self {
        Self { name: name.into(), unit, value, aim: None, note: String::new() }
    }

    pub(crate) fn once(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self::new(name, unit, Some(Spread::once(value)))
    }

    /// What it should not exceed: said, never enforced.
    pub(crate) fn at_most(self, aim: f64) -> Self {
        Self { aim: Some(aim), ..self }
    }

    pub(crate) fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    pub(crate) fn print(&self) {
        let median = self.value.map_or_else(|| "-".to_owned(), |value| number(value.median));
        let quartiles = match self.value {
            Some(value) if !value.is_single() => format!("{} .. {}", number(value.lower), number(value.upper)),
            _ => String::new(),
        };
        let aim = self.aim.map_or_else(String::new, |aim| format!("<= {}", number(aim)));
        let line = format!("  {:<46}{median:>9}{quartiles:>21}  {:<8}{aim:<11}{}", self.name, self.unit, self.note);
        println!("{}", line.trim_end());
    }
}

pub(crate) fn print_header() {
    println!("  {:<46}{:>9}{:>21}  {:<8}{:<11}note", "figure", "median", "quartiles", "unit", "aim");
}

/// Three digits that matter, and no more.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 || large.fract() == 0.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}
