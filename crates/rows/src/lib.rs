//! Values, rows, schemas and histograms: what a question answered looks like before it is rendered.
