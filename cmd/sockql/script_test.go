package main

import (
	"os/exec"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			path, err := exec.LookPath("planets.ext")
			env.Setenv("PLANETS", path)
			return err
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// examine runs sockql doctor, whose status depends on the host.
			"examine": func(ts *testscript.TestScript, _ bool, args []string) {
				if err := ts.Exec("sockql", append([]string{"doctor"}, args...)...); err != nil && err.Error() != "exit status 1" {
					ts.Fatalf("sockql doctor: %v", err)
				}
			},
			// sources asks the recording made/here of each source.
			"sources": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, source := range args {
					ts.Check(ts.Exec("sockql", "--proc", "made/here", "--source", source, "--list", "--noheader",
						"select count(*) > 0 and count(distinct net_namespace) > 0 from socket_states"))
					if got := ts.ReadFile("stdout"); got != "1\n" {
						ts.Fatalf("--source %s sees no sockets in the recording: %q", source, got)
					}
				}
			},
		},
	})
}
