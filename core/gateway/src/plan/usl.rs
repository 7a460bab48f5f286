//! The universal scalability law (Gunther 1993): what more workers, nodes or clients give.
//!
//! `X(N) = γN / (1 + α(N - 1) + βN(N - 1))`: γ is what one does, α the part that only one can do at a time (contention), β what
//! each costs each other (coherency). With β above zero there is a number beyond which more is less.
//!
//! Fitted by least squares of the throughput. The first guess is the fit of N / X, which is linear in the unknowns; Gauss and Newton's
//! steps, made shorter where they would overshoot, lead from there. α and β are not below zero.

/// A measured throughput.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub n: f64,
    pub per_s: f64,
}

/// A fitted law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usl {
    /// γ.
    pub one_per_s: f64,
    /// α.
    pub contention: f64,
    /// β.
    pub coherency: f64,
}

impl Usl {
    /// The law nearest to at least three points with different `n`; none if they don't tell.
    #[must_use]
    pub fn fit(points: &[Point]) -> Option<Self> {
        let mut ns: Vec<f64> = points.iter().map(|point| point.n).collect();
        ns.sort_by(f64::total_cmp);
        ns.dedup();
        let positive = points.iter().all(|point| point.n > 0.0 && point.per_s > 0.0);
        if ns.len() < 3 || !positive {
            return None;
        }
        let mut best = Self::first_guess(points)?;
        for _ in 0..STEPS {
            let Some(next) = best.step(points) else { break };
            best = next;
        }
        Some(best)
    }

    /// What N of them do.
    #[must_use]
    pub fn at(&self, n: f64) -> f64 {
        self.one_per_s * n / (1.0 + self.contention * (n - 1.0) + self.coherency * n * (n - 1.0))
    }

    /// The number beyond which more is less; none if more is never less.
    #[must_use]
    pub fn peak(&self) -> Option<f64> {
        let useful = self.coherency > 0.0 && self.contention < 1.0;
        useful.then(|| ((1.0 - self.contention) / self.coherency).sqrt())
    }

    /// The fit of `N / X = a + b(N - 1) + cN(N - 1)`, each weighed so that relative errors count.
    fn first_guess(points: &[Point]) -> Option<Self> {
        let rows = points.iter().map(|Point { n, per_s }| {
            let (y, weight) = (n / per_s, per_s / n);
            ([weight, weight * (n - 1.0), weight * n * (n - 1.0)], y * weight)
        });
        let [a, b, c] = least_squares(rows)?;
        (a > 0.0).then(|| Self { one_per_s: 1.0 / a, contention: b / a, coherency: c / a }.bounded())
    }

    /// A step that makes the error smaller, if there is one worth it.
    fn step(&self, points: &[Point]) -> Option<Self> {
        let rows = points.iter().map(|Point { n, per_s }| {
            let found = self.at(*n);
            let below = self.one_per_s * n / found;
            let slopes = [found / self.one_per_s, -found * (n - 1.0) / below, -found * n * (n - 1.0) / below];
            (slopes, per_s - found)
        });
        let step = least_squares(rows)?;
        let before = self.error(points);
        let shorter = (0..HALVINGS).map(|halvings| 0.5f64.powi(halvings));
        let mut steps = shorter.map(|part| {
            Self {
                one_per_s: self.one_per_s + part * step[0],
                contention: self.contention + part * step[1],
                coherency: self.coherency + part * step[2],
            }
            .bounded()
        });
        steps.find(|next| next.one_per_s > 0.0 && next.error(points) < before * (1.0 - 1e-12))
    }

    fn error(&self, points: &[Point]) -> f64 {
        points.iter().map(|point| (point.per_s - self.at(point.n)).powi(2)).sum()
    }

    fn bounded(self) -> Self {
        Self { contention: self.contention.max(0.0), coherency: self.coherency.max(0.0), ..self }
    }
}

/// Three numbers x so that the sum of the squares of `row · x - y` is least, by the normal equations.
fn least_squares(rows: impl Iterator<Item = ([f64; 3], f64)>) -> Option<[f64; 3]> {
    let mut matrix = [[0.0; 4]; 3];
    for (row, y) in rows {
        for i in 0..3 {
            for j in 0..3 {
                matrix[i][j] += row[i] * row[j];
            }
            matrix[i][3] += row[i] * y;
        }
    }
    solve(matrix)
}

/// Gauss' elimination; scaled first, since the columns differ by many orders of magnitude.
fn solve(mut matrix: [[f64; 4]; 3]) -> Option<[f64; 3]> {
    let scale = [0, 1, 2].map(|i| matrix[i][i].sqrt());
    if scale.iter().any(|scale| !scale.is_normal()) {
        return None;
    }
    for i in 0..3 {
        for j in 0..3 {
            matrix[i][j] /= scale[i] * scale[j];
        }
        matrix[i][3] /= scale[i];
    }
    for column in 0..3 {
        let pivot = (column..3).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        matrix.swap(column, pivot);
        if matrix[column][column].abs() < 1e-13 {
            return None;
        }
        let pivot_row = matrix[column];
        for (i, row) in matrix.iter_mut().enumerate() {
            if i != column {
                let factor = row[column] / pivot_row[column];
                row.iter_mut().zip(pivot_row).for_each(|(cell, above)| *cell -= factor * above);
            }
        }
    }
    Some([0, 1, 2].map(|i| matrix[i][3] / matrix[i][i] / scale[i]))
}

const STEPS: u32 = 200;
const HALVINGS: i32 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_law_is_found_again() {
        let law = Usl { one_per_s: 1200.0, contention: 0.03, coherency: 0.0004 };
        let points: Vec<Point> = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0].map(|n| Point { n, per_s: law.at(n) }).to_vec();
        let found = Usl::fit(&points).unwrap();
        assert!((found.one_per_s / 1200.0 - 1.0).abs() < 1e-6 && (found.contention - 0.03).abs() < 1e-6, "{found:?}");
        assert!((found.peak().unwrap() - (0.97f64 / 0.0004).sqrt()).abs() < 1e-3);
    }

    #[test]
    fn a_published_fit_is_found() {
        // SPEC SDM91 of a 16-way Sun SPARCcenter 2000 (Gunther, Guerrilla Capacity Planning, 2007), as fitted by the R package usl:
        // α = 0.0277295, β = 0.0001044, γ = 89.9952.
        let measured = [
            (1.0, 64.9),
            (18.0, 995.9),
            (36.0, 1652.4),
            (72.0, 1853.2),
            (108.0, 1828.9),
            (144.0, 1775.0),
            (216.0, 1702.2),
        ];
        let points = measured.map(|(n, per_s)| Point { n, per_s });
        let found = Usl::fit(&points).unwrap();
        assert!((found.contention / 0.027_729_5 - 1.0).abs() < 0.01, "{found:?}");
        assert!((found.coherency / 0.000_104_4 - 1.0).abs() < 0.01, "{found:?}");
        assert!((found.one_per_s / 89.9952 - 1.0).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn what_scales_without_loss_has_no_peak_and_too_little_is_no_law() {
        let linear = [1.0, 2.0, 3.0, 4.0].map(|n| Point { n, per_s: 10.0 * n });
        let found = Usl::fit(&linear).unwrap();
        assert!(found.contention < 1e-9 && found.coherency < 1e-9 && (found.at(100.0) - 1000.0).abs() < 1e-3);
        assert_eq!(Usl::fit(&linear[..2]), None);
        assert_eq!(Usl::fit(&[Point { n: 1.0, per_s: 1.0 }; 5]), None);
    }
}
