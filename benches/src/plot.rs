//! The outcome as a picture: a line for each workload, and on it a dot for each contender where its time is, in multiples of the
//! host's own. The scale is logarithmic, so that the same distance is the same factor everywhere.
//!
//! Written as SVG by hand: a few lines, circles and words, for which a plotting library would be more to learn than this is to read.

use std::fmt::Write;

use crate::report::{Report, USER};

const LEFT: f64 = 165.0;
const RIGHT: f64 = 30.0;
const WIDTH: f64 = 900.0;
const TOP: f64 = 70.0;
const LINE: f64 = 17.0;

/// Colours that the colour-blind tell apart (Okabe and Ito), for all but the host.
const COLOURS: [(&str, &str); 4] =
    [("translate", "#0072b2"), ("tcg", "#d55e00"), ("uml", "#009e73"), ("interpret", "#999999")];

/// A line of the picture: its label, is it a mean, and by contender the multiple of the host's time.
struct Line {
    label: String,
    mean: bool,
    dots: Vec<(&'static str, f64)>,
}

/// Draws it.
pub fn draw(report: &Report) -> String {
    let lines = lines(report);
    let all = || lines.iter().flat_map(|line| &line.dots).map(|(_, times)| *times);
    let least = all().fold(1.0, f64::min).log10().floor();
    let greatest = all().fold(10.0, f64::max).log10().ceil();
    let x = |times: f64| LEFT + (times.log10() - least) / (greatest - least) * (WIDTH - LEFT - RIGHT);
    let bottom = TOP + LINE * lines.len() as f64;
    let mut svg = String::new();
    // Writing into a string does not fail.
    let _ = write_all(&mut svg, report, &lines, (least as i32, greatest as i32), x, bottom);
    svg
}

fn write_all(
    svg: &mut String,
    report: &Report,
    lines: &[Line],
    (least, greatest): (i32, i32),
    x: impl Fn(f64) -> f64,
    bottom: f64,
) -> std::fmt::Result {
    let height = bottom + 45.0;
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">"#
    )?;
    writeln!(svg, r#"<rect width="100%" height="100%" fill="white"/>"#)?;
    let title =
        format!("Time in multiples of the host's own ({}, {})", report.host.processor, report.host.date);
    writeln!(svg, r#"<text x="10" y="22" font-size="15">{}</text>"#, escape(&title))?;
    let present =
        COLOURS.iter().filter(|(name, _)| report.contenders.iter().any(|entrant| entrant.name == *name));
    for (at, (name, colour)) in present.enumerate() {
        let at = LEFT + 110.0 * at as f64;
        writeln!(
            svg,
            r#"<circle cx="{at}" cy="44" r="5" fill="{colour}"/><text x="{}" y="48">{name}</text>"#,
            at + 10.0
        )?;
    }
    for power in least..=greatest {
        for step in if power < greatest { 1..10 } else { 1..2 } {
            let at = x(f64::from(step) * 10.0_f64.powi(power));
            let colour = match (power, step) {
                (0, 1) => "#444444",
                (_, 1) => "#aaaaaa",
                _ => "#eeeeee",
            };
            writeln!(svg, r#"<line x1="{at:.1}" y1="{TOP}" x2="{at:.1}" y2="{bottom}" stroke="{colour}"/>"#)?;
        }
        let (at, label) = (x(10.0_f64.powi(power)), 10.0_f64.powi(power));
        writeln!(svg, r#"<text x="{at:.1}" y="{}" text-anchor="middle">{label}×</text>"#, bottom + 18.0)?;
    }
    for (at, Line { label, mean, dots }) in lines.iter().enumerate() {
        let y = TOP + LINE * (at as f64 + 0.5);
        let weight = if *mean { "bold" } else { "normal" };
        let label = escape(label);
        writeln!(
            svg,
            r#"<text x="{}" y="{:.1}" text-anchor="end" font-weight="{weight}">{label}</text>"#,
            LEFT - 10.0,
            y + 4.0
        )?;
        writeln!(
            svg,
            r##"<line x1="{LEFT}" y1="{y:.1}" x2="{:.1}" y2="{y:.1}" stroke="#dddddd"/>"##,
            WIDTH - RIGHT
        )?;
        for (contender, times) in dots {
            let colour =
                COLOURS.iter().find(|(name, _)| name == contender).map_or("black", |(_, colour)| colour);
            let (at, radius) = (x(*times), if *mean { 6.5 } else { 4.0 });
            let word = format!("{contender}: {times:.2}×");
            writeln!(
                svg,
                r#"<circle cx="{at:.1}" cy="{y:.1}" r="{radius}" fill="{colour}"><title>{word}</title></circle>"#
            )?;
        }
    }
    writeln!(svg, "</svg>")
}

/// The workloads' lines, each class with its mean at its end.
fn lines(report: &Report) -> Vec<Line> {
    let mut lines: Vec<Line> = vec![];
    let mut put = |label: &str, mean: bool, dots: Vec<(&'static str, Option<f64>)>| {
        let dots = dots.into_iter().filter(|(name, _)| *name != "native");
        let dots: Vec<_> = dots.filter_map(|(name, times)| Some((name, times?))).collect();
        if !dots.is_empty() {
            lines.push(Line { label: label.to_owned(), mean, dots });
        }
    };
    let mut rows = report.rows.iter().peekable();
    while let Some(row) = rows.next() {
        let class = &row.workload.class;
        put(
            &row.workload.name,
            false,
            row.cells.iter().map(|cell| (cell.contender, cell.times_native)).collect(),
        );
        if rows.peek().is_none_or(|next| next.workload.class != *class) {
            let mut mean = |class: &str| {
                let of = report.means.iter().filter(|mean| mean.class == class);
                put(
                    &format!("{class}, mean"),
                    true,
                    of.map(|mean| (mean.contender, mean.times_native)).collect(),
                );
            };
            mean(class);
            if class == "simd" {
                mean(USER);
            }
        }
    }
    lines
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn each_workload_has_a_dot_for_each_contender() {
        let svg = draw(&report());
        // Two workloads and their three means, two contenders; and the legend.
        assert_eq!(svg.matches("<circle").count(), 5 * 2 + 2, "{svg}");
        assert!(svg.contains(">sort</text>") && svg.contains("translate: 2.00×"));
        assert!(!svg.contains(">boot</text>"), "the host does not boot");
    }

    #[test]
    fn twice_the_factor_is_to_the_right() {
        let svg = draw(&report());
        let x = |title: &str| -> f64 {
            let line = svg.lines().find(|line| line.contains(title)).unwrap();
            line.split('"').nth(1).unwrap().parse().unwrap()
        };
        let (two, eight, thirty_two) = (x("translate: 2.00×"), x("translate: 8.00×"), x("tcg: 32.00×"));
        assert!(((eight - two) - (thirty_two - eight)).abs() < 0.3 && two > LEFT && thirty_two < WIDTH);
    }

    #[test]
    fn it_is_well_formed() {
        let mut report = report();
        report.host.processor = "A & B <fast>".to_owned();
        let svg = draw(&report);
        assert!(svg.contains("A &amp; B &lt;fast&gt;"));
        let mut open = vec![];
        for tag in svg.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').unwrap();
            let name = tag.split([' ', '/']).find(|word| !word.is_empty()).unwrap();
            match tag {
                _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name)),
                _ if tag.ends_with('/') => {}
                _ => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}
