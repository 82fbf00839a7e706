"""What tests of several rooms share: image makers, runners, faults."""
