//! Trunkline.
