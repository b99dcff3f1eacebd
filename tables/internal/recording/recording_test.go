package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var header = Header{
	ByteOrder: hostByteOrder(), ClockTicks: 100, PageSize: 4096,
	HideMode: 2, HideGID: 65534, HideExempt: true, Nested: true, Scrubbed: true,
	Time: time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC),
}

var exchanges = []Exchange{
	{Request: []byte("tcp?"), Answers: [][]byte{[]byte("one"), []byte("two, and the end")}},
	{Request: []byte("vsock?")},
	{Request: []byte("unix?"), Answers: [][]byte{{}}},
}

// write makes a recording with something of everything.
func write(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "made", "here")
	w, err := Create(root)
	if err != nil {
		t.Fatal(err)
	}
	w.Denied("7/fd")
	w.Denied("8/ns/net")
	w.Denied("9/fd")
	w.Denied("90/fd")
	for _, err := range []error{
		w.File("1/status", []byte("Name:\tinit\n")),
		w.Link("1/fd/3", "socket:[17]"),
		w.Dir("7/task"),
		w.File("9/status", nil),
		w.Forget("9"),
		w.Mounts(40, []byte("mounts\n")),
		w.LinkMounts(1, 40),
		w.List(50, "tcp", []byte("header\n")),
		w.LinkNet(1, 50),
		w.Answers(50, SockDiag, exchanges),
		w.Interfaces(50, map[uint32]string{2: "eth \"0\"", 1: "lo"}),
		w.Finish(header, []Lookup{{Inode: 17, Socket: json.RawMessage(`{"Path":"eA=="}`)}}, map[uint64]string{9: "/a b\n"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestRoundTrip(t *testing.T) {
	root := write(t)
	r, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	if r.Header() != header {
		t.Errorf("header is %+v, want %+v", r.Header(), header)
	}
	for name, want := range map[string]bool{"7/fd": true, "7/fd/3": true, "7": false, "8/ns/net": true, "8/ns": false, "9/fd": false, "90/fd": true, "": false, ".": false} {
		if got := r.Denied(name); got != want {
			t.Errorf("Denied(%q) = %v", name, got)
		}
	}
	got, err := r.Answers(50, SockDiag)
	if err != nil || !slices.EqualFunc(got, exchanges, equal) {
		t.Errorf("Answers = %q, %v", got, err)
	}
	if _, err := r.Answers(51, SockDiag); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("answers of a namespace that is not there: %v", err)
	}
	names, err := r.Interfaces(50)
	if want := map[uint32]string{1: "lo", 2: "eth \"0\""}; err != nil || !reflect.DeepEqual(names, want) {
		t.Errorf("Interfaces = %v, %v", names, err)
	}
	told, ok, err := r.Lookup(17)
	if err != nil || !ok || string(told) != `{"Path":"eA=="}` {
		t.Errorf("Lookup(17) = %s, %v, %v", told, ok, err)
	}
	if _, ok, err := r.Lookup(18); ok || err != nil {
		t.Errorf("Lookup(18) = %v, %v", ok, err)
	}
	cgroups, err := r.Cgroups()
	if want := map[uint64]string{9: "/a b\n"}; err != nil || !reflect.DeepEqual(cgroups, want) {
		t.Errorf("Cgroups = %v, %v", cgroups, err)
	}
	if spaces, err := r.Namespaces(); err != nil || !slices.Equal(spaces, []uint64{50}) {
		t.Errorf("Namespaces = %v, %v", spaces, err)
	}
	for file, want := range map[string]string{"1/mountinfo": "mounts\n", "1/net/tcp": "header\n", "1/status": "Name:\tinit\n"} {
		if got, err := os.ReadFile(filepath.Join(root, file)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", file, got, err)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "9")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the forgotten process: %v", err)
	}
}

func equal(a, b Exchange) bool {
	return bytes.Equal(a.Request, b.Request) && slices.EqualFunc(a.Answers, b.Answers, bytes.Equal)
}

func TestOwnerOnly(t *testing.T) {
	root := write(t)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() == fs.ModeSymlink {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the permissions %v", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCreateRefuses(t *testing.T) {
	if _, err := Create(write(t)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a directory with something in it: %v", err)
	}
	w, err := Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../x", "/etc/x", ""} {
		if err := w.File(name, nil); err == nil {
			t.Errorf("File(%q) was written", name)
		}
	}
	big := []Exchange{{Request: make([]byte, maxPayload+1)}}
	if err := w.Answers(1, SockDiag, big); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a message that could not be read back: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty directory: %v", err)
	}
	other := map[string]string{"little": "big", "big": "little"}[hostByteOrder()]
	for name, c := range map[string]struct {
		file    string
		replace [2]string // "" as old text stands for the whole file; as new one for its removal
		want    string
	}{
		"unfinished":      {formatFile, [2]string{"", ""}, "was not finished"},
		"no beginning":    {formatFile, [2]string{"sockql", "socksql"}, `recording/format": offset 0: not the beginning`},
		"version":         {formatFile, [2]string{"recording 1", "recording 2"}, `offset 0: version "2"; this program reads version 1`},
		"number":          {formatFile, [2]string{"ticks 100", "ticks ten"}, fmt.Sprintf("offset %d: clock_ticks", len("sockql recording 1\nbyte_order \n")+len(hostByteOrder()))},
		"zero":            {formatFile, [2]string{"ticks 100", "ticks 0"}, "cut short"},
		"cut":             {formatFile, [2]string{"end\n", "en"}, "cut short"},
		"field left out":  {formatFile, [2]string{"scrubbed true\n", ""}, "cut short"},
		"truth":           {formatFile, [2]string{"scrubbed true", "scrubbed perhaps"}, "scrubbed: "},
		"byte order":      {formatFile, [2]string{hostByteOrder(), other}, "replay it on one of its kind"},
		"no byte order":   {formatFile, [2]string{hostByteOrder(), "middle"}, "neither little nor big"},
		"denied":          {deniedFile, [2]string{`"8/`, `8/`}, `recording/denied": offset 7: `},
		"denied is there": {deniedFile, [2]string{"", ""}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			root := write(t)
			change(t, filepath.Join(root, c.file), c.replace)
			_, err := Open(root)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func change(t *testing.T, file string, replace [2]string) {
	t.Helper()
	if replace == [2]string{} {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		return
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(b), replace[0], replace[1], 1)
	if changed == string(b) {
		t.Fatalf("%s does not hold %q", file, replace[0])
	}
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedTexts(t *testing.T) {
	root := write(t)
	change(t, filepath.Join(root, lookupFile), [2]string{`{`, `[`})
	change(t, filepath.Join(root, cgroupFile), [2]string{`9 `, `nine `})
	change(t, filepath.Join(root, netnsPath(50), "interfaces"), [2]string{`2 "`, `2 `})
	r, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	_, _, lookup := r.Lookup(17)
	_, cgroup := r.Cgroups()
	_, interfaces := r.Interfaces(50)
	for want, err := range map[string]error{
		`lookups": offset 0`: lookup, `cgroups": offset 0`: cgroup, `interfaces": offset 7`: interfaces,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestOlderHeader opens a recording from before its pid namespace was noted.
func TestOlderHeader(t *testing.T) {
	root := write(t)
	change(t, filepath.Join(root, formatFile), [2]string{"nested true\n", ""})
	r, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	want := header
	want.Nested = false
	if r.Header() != want {
		t.Errorf("header is %+v, want %+v", r.Header(), want)
	}
}

// TestDamagedAnswers changes, removes and adds single bytes of the file: each is
// noticed, and what stood before it is given.
func TestDamagedAnswers(t *testing.T) {
	var b bytes.Buffer
	if err := writeAnswers(&b, exchanges); err != nil {
		t.Fatal(err)
	}
	check := func(what string, at int, damaged []byte) {
		t.Helper()
		got, err := parseAnswers(damaged)
		d := (*damage)(nil)
		if !errors.As(err, &d) {
			t.Errorf("%s at %d: %v", what, at, err)
			return
		}
		if d.offset > at || d.offset < 0 {
			t.Errorf("%s at %d is reported at %d", what, at, d.offset)
		}
		if len(got) > len(exchanges) || !slices.EqualFunc(got, exchanges[:len(got)], equal) {
			t.Errorf("%s at %d: got %q", what, at, got)
		}
	}
	whole := b.Bytes()
	for at := range whole {
		check("cut", at, whole[:at])
		changed := bytes.Clone(whole)
		changed[at] ^= 0x10
		check("change", at, changed)
	}
	check("addition", len(whole), append(bytes.Clone(whole), 0))
	if got, err := parseAnswers(whole[:len(whole)-1]); len(got) != 2 || err == nil {
		t.Errorf("without the last byte: %q, %v", got, err)
	}
}

func FuzzAnswers(f *testing.F) {
	var b bytes.Buffer
	if err := writeAnswers(&b, exchanges); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(answersMagic))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := parseAnswers(text)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := writeAnswers(&again, got); err != nil || !bytes.Equal(again.Bytes(), text) {
			t.Errorf("%q is read as %q, which is written as %q, %v", text, got, again.Bytes(), err)
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(header.marshal())
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := parseHeader(text)
		if err != nil {
			return
		}
		if again, err := parseHeader(h.marshal()); err != nil || !again.Time.Equal(h.Time) || again.ClockTicks != h.ClockTicks || again.HideMode != h.HideMode {
			t.Errorf("%q is read as %+v, and then as %+v, %v", text, h, again, err)
		}
	})
}
