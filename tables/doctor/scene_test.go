package doctor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables"
	"sockql/tables/builtin"
	"sockql/tables/internal/kerneltest"
)

const kernelRoot = "/proc"

// A place is a socket and where it is to be found.
type place struct {
	Inode uint64
	Netns uint64
	PID   int
	Port  uint16
}

// A scene is what a test has made for others to look at.
type scene struct {
	Other   place // a listener of root's in a namespace of its own
	Bound   place // beside it: bound, but not listening
	Unbound place // beside it: not even bound
	Lone    place // a listener in a namespace where no process lives
	Mounted place // a connection without a file in a namespace that a mount keeps
	Nobody  place // a listener of an ordinary user's
	Marked  place // in the test's own namespace, with the mark
}

const (
	mark   = 4711
	nobody = 65534
)

func newScene(t *testing.T) *scene {
	home, err := os.Readlink(kernelRoot + "/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	own, err := strconv.ParseUint(strings.Trim(strings.TrimPrefix(home, "net:"), "[]"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{}
	at := func(p *place, sock *kerneltest.Sock, netns uint64) *kerneltest.Sock {
		*p = place{Inode: sock.Inode(), Netns: netns, PID: -1}
		return sock
	}
	other := kerneltest.NewNamespace(t)
	listener := at(&s.Other, other.Listen(t, "127.0.0.1:0"), other.Inode)
	s.Other.Port = listener.Local().Port()
	bound := at(&s.Bound, other.BoundInactive(t, "127.0.0.1:0"), other.Inode)
	s.Bound.Port = bound.Local().Port()
	unbound := at(&s.Unbound, other.Socket(t, unix.AF_INET, unix.SOCK_STREAM, 0), other.Inode)
	holder := kerneltest.Hold(t, other, listener, bound, unbound)
	for _, p := range []*place{&s.Other, &s.Bound, &s.Unbound} {
		p.PID = holder.PID
	}

	lone := kerneltest.NewNamespace(t)
	alone := at(&s.Lone, lone.Listen(t, "127.0.0.1:0"), lone.Inode)
	s.Lone.PID = kerneltest.Hold(t, nil, alone).PID

	mounted := kerneltest.NewNamespace(t)
	client, server := mounted.Pair(t, mounted.Listen(t, "127.0.0.1:0"))
	s.Mounted = place{Netns: mounted.Inode, PID: -1, Port: client.Local().Port()}
	server.Deafen()
	client.Close()
	target := filepath.Join(t.TempDir(), "kept")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	kerneltest.HoldWith(t, kerneltest.HoldOptions{Mounts: map[string]*kerneltest.Namespace{target: mounted}})

	users := kerneltest.NewNamespace(t)
	kerneltest.Hold(t, users) // root's, met first
	user := at(&s.Nobody, users.Listen(t, "127.0.0.1:0"), users.Inode)
	s.Nobody.PID = kerneltest.HoldWith(t, kerneltest.HoldOptions{Namespace: users, UID: nobody}, user).PID

	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	var st unix.Stat_t
	for _, err := range []error{
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
		unix.Listen(fd, 1),
		unix.Fstat(fd, &st),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.Marked = place{Inode: st.Ino, Netns: own, PID: os.Getpid()}
	// The test's own descriptors would keep everything in sight.
	for _, sock := range []*kerneltest.Sock{listener, bound, unbound, alone, user} {
		sock.Close()
	}
	return s
}

// A view is what somebody sees of a host.
type view struct {
	rows      []map[string]string // of socket_states; NULL is left out
	processes []map[string]string
	warnings  []string
}

func look(t testing.TB, proc, source string) *view {
	t.Helper()
	v, err := lookAt(proc, source)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func lookAt(proc, source string) (*view, error) {
	list, err := builtin.Tables(builtin.Config{Proc: proc, Source: source})
	if err != nil {
		return nil, err
	}
	v := &view{}
	s := tables.NewSession(context.Background())
	defer s.Close()
	for _, table := range list {
		schema := table.Schema()
		var into *[]map[string]string
		switch schema.Name {
		case "socket_states":
			into = &v.rows
		case "processes":
			into = &v.processes
		default:
			continue
		}
		err := tables.Run(s.Context(), table, tables.NewQuery(s, schema, tables.Request{Used: tables.AllUsed}), func(r tables.Row) bool {
			row := map[string]string{}
			for i, c := range schema.Columns {
				if value := r.Column(i); !value.IsNull() {
					row[c.Name] = value.String()
				}
			}
			*into = append(*into, row)
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	for _, w := range s.TakeWarnings() {
		v.warnings = append(v.warnings, w.Error())
	}
	return v, nil
}

// of returns the rows of a socket.
func (v *view) of(inode uint64) (rows []map[string]string) {
	for _, r := range v.rows {
		if r["socket"] == fmt.Sprint(inode) {
			rows = append(rows, r)
		}
	}
	return rows
}

// where reports whether a socket has a row with all these cells.
func (v *view) where(inode uint64, cells ...string) bool {
	for _, r := range v.of(inode) {
		match := true
		for i := 0; i < len(cells); i += 2 {
			match = match && r[cells[i]] == cells[i+1]
		}
		if match {
			return true
		}
	}
	return false
}

// A task tells a child what to look at, and from where.
type task struct {
	Step  string
	Scene *scene
	// Proc is what --proc names; empty for the default.
	Proc string
	// Mount says where the child mounts a procfs of its own and a directory
	// where it shows the one that it was born with; empty for neither.
	Mount, Host string
	// Options are those of that procfs.
	Options string
	// Keep are the capabilities that root keeps; nil keeps all.
	Keep []int
}

const taskEnv = "SOCKQL_DOCTOR_TASK"

func TestMain(m *testing.M) {
	env, child := os.LookupEnv(taskEnv)
	if !child {
		kerneltest.Main(m)
		return
	}
	if err := perform(env); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func perform(env string) error {
	var task task
	if err := json.Unmarshal([]byte(env), &task); err != nil {
		return err
	}
	if task.Step != "" {
		return task.prepare()
	}
	return task.answer(os.Stdout)
}

// prepare makes the mounts, gives up capabilities, and begins again.
func (k *task) prepare() error {
	if k.Mount != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make mounts private: %w", err)
		}
		if k.Host != "" {
			if err := unix.Mount(kernelRoot, k.Host, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
				return fmt.Errorf("bind the host's procfs: %w", err)
			}
		}
		if err := unix.Mount("proc", k.Mount, "proc", 0, k.Options); err != nil {
			return fmt.Errorf("mount a procfs: %w", err)
		}
	}
	if k.Keep != nil {
		for c := 0; c <= unix.CAP_LAST_CAP; c++ {
			kept := false
			for _, keep := range k.Keep {
				kept = kept || keep == c
			}
			if kept {
				continue
			}
			// What this kernel does not know cannot be dropped, nor had.
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil && err != unix.EINVAL {
				return fmt.Errorf("drop capability %d: %w", c, err)
			}
		}
	}
	k.Step = ""
	env, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return unix.Exec(kernelRoot+"/self/exe", os.Args[:1], []string{taskEnv + "=" + string(env), "GOMAXPROCS=2"})
}

// run has a child perform a task and returns its answer, or skips the test if
// the child cannot be made.
func run[A any](t *testing.T, k task, attr *syscall.SysProcAttr) (answer A) {
	t.Helper()
	env, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(kernelRoot+"/self/exe", "-test.run=^$")
	cmd.Env = []string{taskEnv + "=" + string(env), "GOMAXPROCS=2"}
	cmd.Dir = "/"
	cmd.SysProcAttr = attr
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if cmd.Process == nil {
		t.Skipf("needs namespaces and capabilities: %v", err)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return answer
}

// An answer is what a child saw.
type answer struct {
	Facts  map[string]bool
	Order  []string
	Checks map[string]string // outcomes of the examination by name
	// Wrong are holders that are others than the scene's.
	Wrong []string
	Self  string // the child's own number in the procfs that it looked at
	Done  bool   // whether the examination found nothing missing
	Seen  int    // sockets
}

func (k *task) answer(w io.Writer) error {
	own, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(own, &st); err != nil {
		return err
	}
	if err := unix.Listen(own, 1); err != nil { // binds it, too
		return err
	}
	v, err := lookAt(k.Proc, "auto")
	if err != nil {
		return err
	}
	report, err := builtin.Doctor(context.Background(), builtin.Config{Proc: k.Proc})
	if err != nil {
		return err
	}
	a := answer{Facts: map[string]bool{}, Checks: map[string]string{}, Done: report.Complete, Seen: len(v.rows)}
	for _, c := range report.Checks {
		a.Checks[c.Name] = string(c.Status)
	}
	root := k.Proc
	if root == "" {
		root = kernelRoot
	}
	if a.Self, err = os.Readlink(filepath.Join(root, "self")); err != nil {
		a.Self = "" // it has no number there
	}
	s := k.Scene
	fact := func(name string, holds bool) {
		a.Facts[name] = holds
		a.Order = append(a.Order, name)
	}
	pid := func(p place) []string { return []string{"pid", fmt.Sprint(p.PID)} }
	number := func(p place) []string { return []string{"net_namespace", fmt.Sprint(p.Netns)} }
	fact("own sockets, with their holder", v.where(st.Ino, "pid", a.Self, "state", "LISTEN"))
	fact("sockets in the test's namespace", len(v.of(s.Marked.Inode)) > 0)
	fact("sockets in other namespaces where processes live", len(v.of(s.Other.Inode)) > 0)
	fact("holders of the same user's sockets", v.where(s.Nobody.Inode, pid(s.Nobody)...))
	fact("holders of other users' sockets", v.where(s.Other.Inode, pid(s.Other)...))
	fact("number of other users' network namespaces", v.where(s.Other.Inode, number(s.Other)...))
	diag := func(p place) bool {
		rows := v.of(p.Inode)
		return len(rows) > 0 && rows[0]["cookie"] != ""
	}
	fact("what only sock_diag tells, in namespaces of the same user's processes", diag(s.Nobody))
	fact("what only sock_diag tells, in other namespaces", diag(s.Other))
	fact("sockets that are bound but do not listen, in other namespaces", v.where(s.Bound.Inode, "local_port", fmt.Sprint(s.Bound.Port), "family", "2"))
	fact("sockets that are not bound", v.where(s.Unbound.Inode, "family", "2", "protocol", "6"))
	fact("sockets in namespaces where no process lives", v.where(s.Lone.Inode, "state", "LISTEN"))
	mounted := false
	for _, r := range v.rows {
		mounted = mounted || r["net_namespace"] == fmt.Sprint(s.Mounted.Netns) && r["local_port"] == fmt.Sprint(s.Mounted.Port)
	}
	fact("connections in namespaces that only a mount keeps", mounted)
	fact("marks", v.where(s.Marked.Inode, "mark", fmt.Sprint(mark)))
	var command, directory bool
	for _, p := range v.processes {
		if p["pid"] == fmt.Sprint(s.Other.PID) {
			command = p["cmdline"] != ""
			directory = p["cwd"] != ""
		}
	}
	fact("names and arguments of other users' processes", command)
	fact("programs and directories of other users' processes", directory)
	for _, p := range []place{s.Other, s.Bound, s.Unbound, s.Lone, s.Nobody, s.Marked} {
		for _, r := range v.of(p.Inode) {
			if r["pid"] != "-1" && r["pid"] != fmt.Sprint(p.PID) {
				a.Wrong = append(a.Wrong, fmt.Sprintf("socket %d: pid %s, want %d", p.Inode, r["pid"], p.PID))
			}
			// A number taken for another pid namespace's would lead to a
			// descriptor that is something else.
			if r["family"] != "" && r["family"] != "2" {
				a.Wrong = append(a.Wrong, fmt.Sprintf("socket %d: family %s, want 2", p.Inode, r["family"]))
			}
		}
	}
	return json.NewEncoder(w).Encode(a)
}
