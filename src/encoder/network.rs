//! The network: from the rows of a text's pieces to its vector.

use std::fs::File;
use std::io;

use ndarray::{Array1, Array2, ArrayView2, Axis, Slice};

use super::DIMENSIONS;
use super::file::Header;

/// Numbers of each branch.
const BRANCH: usize = 256;
/// Pieces that each branch sees at once, and how many of them are before the one it is about.
const WINDOWS: [(usize, usize); 3] = [(2, 0), (3, 1), (5, 2)];
/// Numbers of a piece behind the branches: its own, and those of each branch.
const FEATURES: usize = DIMENSIONS + WINDOWS.len() * BRANCH;
/// Width of the narrow layers.
const NARROW: usize = 320;
/// The rows of the table were made small in so many groups, by turns.
const GROUPS: usize = 17;

/// Two convolutions, each added to what went in.
#[derive(Debug)]
struct Branch {
    window: usize,
    before: usize,
    weights: [Array2<f32>; 2],
    biases: [Array1<f32>; 2],
}

/// The weights.
#[derive(Debug)]
pub(super) struct Network {
    scale: Vec<f32>,
    lowest: Vec<f32>,
    projection: Array2<f32>,
    projection_bias: Array1<f32>,
    projection_norm: Norm,
    branches: Vec<Branch>,
    norm: Norm,
    out: Array2<f32>,
    out_bias: Array1<f32>,
    deep: [Array2<f32>; 4],
    skip: [Array2<f32>; 2],
    epsilon: f32,
}

/// Layer normalization.
#[derive(Debug)]
struct Norm {
    gain: Array1<f32>,
    bias: Array1<f32>,
}

/// The sections of the file that the network is made of, with their shapes; a row of 1 is a vector.
pub(super) const SECTIONS: [(&str, usize, usize); 29] = [
    ("scale", 1, GROUPS),
    ("lo", 1, GROUPS),
    ("proj", DIMENSIONS, 3 * BRANCH),
    ("proj_b", 1, 3 * BRANCH),
    ("ln_g_all", 1, 3 * BRANCH),
    ("ln_b_all", 1, 3 * BRANCH),
    ("w1_2", 2 * BRANCH, BRANCH),
    ("b1_2", 1, BRANCH),
    ("w2_2", 2 * BRANCH, BRANCH),
    ("b2_2", 1, BRANCH),
    ("w1_3", 3 * BRANCH, BRANCH),
    ("b1_3", 1, BRANCH),
    ("w2_3", 3 * BRANCH, BRANCH),
    ("b2_3", 1, BRANCH),
    ("w1_5", 5 * BRANCH, BRANCH),
    ("b1_5", 1, BRANCH),
    ("w2_5", 5 * BRANCH, BRANCH),
    ("b2_5", 1, BRANCH),
    ("ln_g", 1, FEATURES),
    ("ln_b", 1, FEATURES),
    ("cnn_W", FEATURES, DIMENSIONS),
    ("cnn_b", 1, DIMENSIONS),
    ("d0", DIMENSIONS, NARROW),
    ("d1", NARROW, NARROW),
    ("d2", NARROW, DIMENSIONS),
    ("d3", DIMENSIONS, DIMENSIONS),
    ("p1", DIMENSIONS, NARROW),
    ("p3", NARROW, DIMENSIONS),
    ("eps", 1, 1),
];

impl Network {
    pub(super) fn read(file: &File, header: &Header) -> Result<Self, String> {
        let matrix = |name: &str| -> Result<Array2<f32>, String> {
            let shape = SECTIONS.iter().find(|(known, ..)| *known == name);
            let (_, rows, columns) = *shape.ok_or_else(|| format!("there is no {name}"))?;
            let numbers = header.numbers(file, name, rows * columns)?;
            Array2::from_shape_vec((rows, columns), numbers).map_err(|error| error.to_string())
        };
        let vector = |name: &str| matrix(name).map(|it| it.row(0).to_owned());
        let branch = |(window, before)| -> Result<Branch, String> {
            let weights = [matrix(&format!("w1_{window}"))?, matrix(&format!("w2_{window}"))?];
            let biases = [vector(&format!("b1_{window}"))?, vector(&format!("b2_{window}"))?];
            Ok(Branch { window, before, weights, biases })
        };
        Ok(Self {
            scale: vector("scale")?.to_vec(),
            lowest: vector("lo")?.to_vec(),
            projection: matrix("proj")?,
            projection_bias: vector("proj_b")?,
            projection_norm: Norm { gain: vector("ln_g_all")?, bias: vector("ln_b_all")? },
            branches: WINDOWS.into_iter().map(branch).collect::<Result<_, _>>()?,
            norm: Norm { gain: vector("ln_g")?, bias: vector("ln_b")? },
            out: matrix("cnn_W")?,
            out_bias: vector("cnn_b")?,
            deep: [matrix("d0")?, matrix("d1")?, matrix("d2")?, matrix("d3")?],
            skip: [matrix("p1")?, matrix("p3")?],
            epsilon: vector("eps")?[0],
        })
    }

    /// The vector of a text in pieces; `row` reads the row of a piece.
    pub(super) fn forward(
        &self,
        ids: &[u32],
        row: impl Fn(u32, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<Vec<f32>> {
        let count = ids.len();
        let mut features = Array2::<f32>::zeros((count, FEATURES));
        let mut bytes = [0_u8; DIMENSIONS];
        for (id, mut piece) in ids.iter().zip(features.rows_mut()) {
            row(*id, &mut bytes)?;
            let group = *id as usize % GROUPS;
            let (scale, lowest) = (self.scale[group], self.lowest[group]);
            for (number, byte) in piece.iter_mut().zip(bytes) {
                *number = f32::from(byte) * scale + lowest;
            }
        }
        let mut projected = columns(&features, 0, DIMENSIONS).dot(&self.projection);
        projected += &self.projection_bias;
        self.projection_norm.apply(&mut projected, self.epsilon);
        for (index, branch) in self.branches.iter().enumerate() {
            let input = columns(&projected, index * BRANCH, BRANCH);
            let first = branch.convolve(0, input);
            let second = branch.convolve(1, first.view());
            let at = DIMENSIONS + index * BRANCH;
            let place = Slice::from(at..at + BRANCH);
            features.slice_axis_mut(Axis(1), place).assign(&second);
        }
        self.norm.apply(&mut features, self.epsilon);
        let length = count as f32;
        let mut mean = features.sum_axis(Axis(0)).dot(&self.out);
        mean.scaled_add(length, &self.out_bias);
        mean /= length.sqrt();
        Ok(self.judge(&mean).to_vec())
    }

    /// The layers behind the mean of the pieces.
    fn judge(&self, mean: &Array1<f32>) -> Array1<f32> {
        let [d0, d1, d2, d3] = &self.deep;
        let [p1, p3] = &self.skip;
        let first = positive(mean.dot(d0));
        let second = positive(mean.dot(p1) + first.dot(d1));
        let third = positive(second.dot(d2));
        let mut vector = (second.dot(p3) + third.dot(d3)).mapv_into(f32::tanh);
        let length = vector.dot(&vector).max(self.epsilon).sqrt();
        vector /= length;
        vector
    }
}

impl Branch {
    /// One of the convolutions, added to what went in; outside of the text there is nothing.
    fn convolve(&self, which: usize, input: ArrayView2<'_, f32>) -> Array2<f32> {
        let count = input.nrows();
        let mut seen = Array2::<f32>::zeros((count, self.window * BRANCH));
        for at in 0..count {
            for place in 0..self.window {
                let from = (at + place).checked_sub(self.before).filter(|from| *from < count);
                if let Some(from) = from {
                    let place = Slice::from(place * BRANCH..(place + 1) * BRANCH);
                    let mut row = seen.row_mut(at);
                    row.slice_axis_mut(Axis(0), place).assign(&input.row(from));
                }
            }
        }
        let mut out = seen.dot(&self.weights[which]);
        out += &self.biases[which];
        out.mapv_inplace(|number| number.max(0.0));
        out += &input;
        out
    }
}

impl Norm {
    fn apply(&self, rows: &mut Array2<f32>, epsilon: f32) {
        for mut row in rows.rows_mut() {
            let count = row.len() as f32;
            let mean = row.sum() / count;
            row -= mean;
            let variance = row.dot(&row) / count;
            row /= (variance + epsilon).sqrt();
            row *= &self.gain;
            row += &self.bias;
        }
    }
}

/// So many columns, from `first` on.
fn columns(rows: &Array2<f32>, first: usize, count: usize) -> ArrayView2<'_, f32> {
    rows.slice_axis(Axis(1), Slice::from(first..first + count))
}

fn positive(numbers: Array1<f32>) -> Array1<f32> {
    numbers.mapv_into(|number| number.max(0.0))
}
