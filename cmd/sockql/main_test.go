package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the command available to tests as programs of both its names.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sockql": main, "osqueryi": main})
}
