//go:build !race

package engine_test

// raceEnabled says that everything takes ten times as long.
const raceEnabled = false
