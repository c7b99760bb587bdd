//go:build race

package harness

// raceEnabled says that the tests run with the race detector, and so should the
// worker they start.
const raceEnabled = true
