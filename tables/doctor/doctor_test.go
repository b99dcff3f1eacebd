package doctor_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sockql/fixtures"
	"sockql/tables/builtin"
	"sockql/tables/doctor"
	"sockql/tables/internal/kerneltest"
)

// TestHidden has a procfs hide other people's processes. Without the option gid
// the group that it makes an exception for is root's.
func TestHidden(t *testing.T) {
	kerneltest.RequireRoot(t)
	s := newScene(t)
	for options, want := range map[string]string{"hidepid=0": "ok", "hidepid=1,gid=65533": "missing", "hidepid=2,gid=65533": "missing", "hidepid=2": "ok", "hidepid=4": "missing"} {
		a := run[answer](t, task{Step: "prepare", Scene: s, Mount: kernelRoot, Options: options, Keep: []int{}},
			&syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS})
		if got := a.Checks["hidden processes"]; got != want {
			t.Errorf("%s without capabilities is found %s, want %s", options, got, want)
		}
		if a.Done {
			t.Errorf("%s without capabilities: the examination finds nothing missing", options)
		}
		a = run[answer](t, task{Step: "prepare", Scene: s, Mount: kernelRoot, Options: options}, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS})
		if got := a.Checks["hidden processes"]; got != "ok" {
			t.Errorf("%s with all capabilities is found %s", options, got)
		}
	}
}

// TestExamine examines this host, whatever it is like.
func TestExamine(t *testing.T) {
	report, err := builtin.Doctor(context.Background(), builtin.Config{})
	if err != nil {
		t.Fatal(err)
	}
	complete := true
	names := map[string]bool{}
	for _, c := range report.Checks {
		if names[c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		names[c.Name] = true
		if c.Found == "" {
			t.Errorf("%s: nothing was found", c.Name)
		}
		fine := c.Status == doctor.OK || c.Status == doctor.Absent
		if fine != (c.Why == "") || fine != (c.Remedy == "") {
			t.Errorf("%s is %s, because %q, and %q would help", c.Name, c.Status, c.Why, c.Remedy)
		}
		if c.Needed && c.Status != doctor.OK {
			complete = false
		}
	}
	if len(names) < 20 {
		t.Errorf("only %d checks", len(names))
	}
	if report.Complete != complete || report.Kernel == "" {
		t.Errorf("report %+v", report)
	}
	if slices.Contains(report.Capabilities, "") {
		t.Errorf("capabilities %q", report.Capabilities)
	}
}

func TestExamineRefuses(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("enough")
	cancel(cause)
	if _, err := builtin.Doctor(ctx, builtin.Config{}); !errors.Is(err, cause) {
		t.Errorf("a context that has ended: %v", err)
	}
	if _, err := builtin.Doctor(context.Background(), builtin.Config{Proc: fixtures.Unpack(t, "bash")}); err == nil || !strings.Contains(err.Error(), "is a recorded tree") {
		t.Errorf("a recorded tree: %v", err)
	}
	if _, err := builtin.Doctor(context.Background(), builtin.Config{Proc: t.TempDir()}); err == nil {
		t.Error("an empty directory is examined")
	}
}
