//! Both sides, beside each other.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::figures::{Bound, Bounds, Figure, median};
use super::measure::Run;

/// One line: medians of both sides and whether the bound holds.
pub struct Row {
    pub figure: Figure,
    pub stock: Option<f64>,
    pub torpor: Option<f64>,
    pub bound: Bound,
}

impl Row {
    pub fn ratio(&self) -> Option<f64> {
        Some(self.torpor? / self.stock?).filter(|ratio| ratio.is_finite())
    }

    /// False exactly when there is a bound and it does not hold.
    pub fn holds(&self) -> Option<bool> {
        self.bound.holds(self.stock, self.torpor?)
    }
}

/// The rows of all figures that were measured.
pub fn rows(stock: &[Run], torpor: &[Run], bounds: Bounds) -> Vec<Row> {
    let middle = |runs: &[Run], figure: Figure| {
        let values: Vec<f64> = runs.iter().filter_map(|run| run.get(&figure).copied()).collect();
        median(&values)
    };
    let row = |figure: Figure| Row {
        figure,
        stock: middle(stock, figure),
        torpor: middle(torpor, figure),
        bound: figure.bound(bounds),
    };
    let measured = Figure::ALL.into_iter().map(row);
    measured.filter(|row| row.stock.is_some() || row.torpor.is_some()).collect()
}

/// For people.
pub fn print(rows: &[Row], clients: u32) {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["", "stock", "torpor", "", "ratio", "at most", ""]);
    for row in rows {
        let bound = match row.bound {
            Bound::Ratio(ratio) => format!("{ratio:.2}"),
            Bound::Below(limit) => format!("< {limit:.1} {}", row.figure.unit()),
            Bound::None => String::new(),
        };
        let verdict = match row.holds() {
            Some(true) => "ok",
            Some(false) => "MISS",
            None => "",
        };
        table.add_row([
            row.figure.name(clients),
            row.stock.map_or("-".to_owned(), number),
            row.torpor.map_or("-".to_owned(), number),
            row.figure.unit().to_owned(),
            row.ratio().map_or(String::new(), |ratio| format!("{ratio:.2}")),
            bound,
            verdict.to_owned(),
        ]);
    }
    for column in [1, 2, 4] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
}

/// For machines; the figures of every run as well.
pub fn to_json(rows: &[Row], clients: u32, stock: &[Run], torpor: &[Run]) -> Value {
    let row = |row: &Row| {
        json!({
            "name": row.figure.name(clients),
            "unit": row.figure.unit(),
            "stock": row.stock,
            "torpor": row.torpor,
            "ratio": row.ratio(),
            "ok": row.holds(),
        })
    };
    let runs = |runs: &[Run]| -> Vec<Value> {
        let one = |run: &Run| {
            run.iter().map(|(figure, value)| (figure.name(clients), json!(value))).collect()
        };
        runs.iter().map(one).map(Value::Object).collect()
    };
    let rows: Vec<Value> = rows.iter().map(row).collect();
    json!({ "rows": rows, "runs": { "stock": runs(stock), "torpor": runs(torpor) } })
}

/// Three or four digits that count.
fn number(value: f64) -> String {
    match value {
        value if value >= 1000.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
}
