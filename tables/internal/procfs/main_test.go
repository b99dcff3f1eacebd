package procfs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/socket"
)

// helperEnv names what this test binary does as a child of one of the tests,
// which need a process with other privileges or namespaces.
const helperEnv = "SOCKQL_PROCFS_HELPER"

const nobodyID = 65534

func TestMain(m *testing.M) {
	name := os.Getenv(helperEnv)
	if name == "" {
		kerneltest.Main(m)
		return
	}
	answer, err := helpers[name](os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(answer)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var helpers = map[string]func(args []string) (any, error){
	"nobody":  helpNobody,
	"hidepid": helpHidePID,
	"pidns":   helpPIDNamespace,
}

// help runs a helper and decodes its answer.
func help(t *testing.T, attr *syscall.SysProcAttr, answer any, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), helperEnv+"="+name)
	cmd.SysProcAttr = attr
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if errors.Is(err, fs.ErrPermission) {
		t.Skipf("needs the privilege to make namespaces: %v", err)
	}
	if err != nil {
		t.Fatalf("helper %s: %v: %s", name, err, errs.Bytes())
	}
	if err := json.Unmarshal(out.Bytes(), answer); err != nil {
		t.Fatalf("helper %s: %v in %q", name, err, out.Bytes())
	}
}

// becomeNobody gives up the identity of root and with it all capabilities.
func becomeNobody() error {
	return errors.Join(syscall.Setgroups(nil), syscall.Setresgid(nobodyID, nobodyID, nobodyID),
		syscall.Setresuid(nobodyID, nobodyID, nobodyID))
}

// outcome puts an error into the three words that matter.
func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrVanished):
		return "vanished"
	case errors.Is(err, fs.ErrPermission):
		return "denied"
	}
	return err.Error()
}

type nobodySaw struct {
	NetNS, Sockets, Stat, List string // outcomes
	Identity                   uint64
	Inodes                     []uint64 // of TCP sockets
}

func helpNobody(pids []string) (any, error) {
	if err := becomeNobody(); err != nil {
		return nil, err
	}
	p, err := Open(kernelRoot)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	var answer []nobodySaw
	for _, arg := range pids {
		n, err := strconv.Atoi(arg)
		if err != nil {
			return nil, err
		}
		pid := int32(n)
		var saw nobodySaw
		_, err = p.NetNS(pid)
		saw.NetNS = outcome(err)
		_, err = p.Sockets(&Walker{}, pid, nil)
		saw.Sockets = outcome(err)
		_, err = p.Stat(pid)
		saw.Stat = outcome(err)
		if saw.Identity, err = p.NetIdentity(pid); err != nil {
			return nil, err
		}
		saw.List = outcome(p.List(ctx, pid, socket.TCP4, 0, nil, func(s *socket.Socket) bool {
			saw.Inodes = append(saw.Inodes, s.Inode)
			return true
		}))
		answer = append(answer, saw)
	}
	return answer, nil
}

type hideSaw struct {
	Root, Nobody         HidePID
	RootSees, NobodySees bool // the parent's stat
	Listed               bool // whether nobody finds the parent in the list
}

// helpHidePID mounts a procfs with each of the options below a directory.
func helpHidePID(args []string) (any, error) {
	dir, options := args[0], args[1:]
	parent := int32(os.Getppid())
	answer := make([]hideSaw, len(options))
	look := func(i int) (h HidePID, sees, listed bool, err error) {
		p, err := Open(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			return h, false, false, err
		}
		defer p.Close()
		if h, err = p.HidePID(); err != nil {
			return h, false, false, err
		}
		pids, err := p.PIDs(nil)
		for _, pid := range pids {
			listed = listed || pid == parent
		}
		_, statErr := p.Stat(parent)
		return h, statErr == nil, listed, err
	}
	var err error
	for i, option := range options {
		mount := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(mount, 0o755); err != nil {
			return nil, err
		}
		if err := unix.Mount("proc", mount, "proc", 0, option); err != nil {
			return nil, fmt.Errorf("mount with %q: %w", option, err)
		}
		if answer[i].Root, answer[i].RootSees, _, err = look(i); err != nil {
			return nil, err
		}
	}
	if err := becomeNobody(); err != nil {
		return nil, err
	}
	for i := range options {
		if answer[i].Nobody, answer[i].NobodySees, answer[i].Listed, err = look(i); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

type hostSaw struct {
	Mounted, Host, Initial, Shown bool
	PIDs                          int
}

// helpPIDNamespace looks at the procfs of its parent's pid namespace and at
// one of its own.
func helpPIDNamespace(args []string) (any, error) {
	if err := unix.Mount("proc", args[0], "proc", 0, ""); err != nil {
		return nil, err
	}
	var answer []hostSaw
	for _, root := range []string{kernelRoot, args[0]} {
		p, err := Open(root)
		if err != nil {
			return nil, err
		}
		pids, err := p.PIDs(nil)
		if err != nil {
			return nil, err
		}
		answer = append(answer, hostSaw{p.IsMounted(), p.IsHost(), p.IsInitial(), p.ShowsHost(), len(pids)})
		p.Close()
	}
	return answer, nil
}
