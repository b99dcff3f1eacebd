//go:build race

package main

// everyNth thins out the transcript: under the race detector each start of the
// command takes a second.
const everyNth = 12
