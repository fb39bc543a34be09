mod plan;

pub use plan::Edit;
