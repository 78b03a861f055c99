//! What is said over the control socket of a driver.
