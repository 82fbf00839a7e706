"""Storage drivers: read-only layers and one writable one, shown as one tree (driver.py says how)."""
