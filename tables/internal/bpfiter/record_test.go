package bpfiter

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"sockql/tables/internal/socket"
)

var hundredth = decoder{jiffy: 10 * time.Millisecond}

// record makes a record of a size with a kind and known fields.
func record(size int, kind uint8, known socket.Fields) []byte {
	b := make([]byte, size)
	binary.NativeEndian.PutUint16(b, uint16(size))
	b[2] = kind
	binary.NativeEndian.PutUint32(b[4:], uint32(known))
	return b
}

func TestLayout(t *testing.T) {
	var e filesEntry
	if n := unsafe.Sizeof(e.Record); n != wholeRecord {
		t.Errorf("struct record has %d bytes", n)
	}
	if n := unsafe.Offsetof(e.Record.RxQueue); n != shortRecord {
		t.Errorf("the first part has %d bytes", n)
	}
	if n := unsafe.Sizeof(e.Tcp); n != tcpPart {
		t.Errorf("struct tcp_part has %d bytes", n)
	}
	if n := unsafe.Sizeof(hashChunk{}) - unsafe.Sizeof(hashChunk{}.Data); n != chunkHeader {
		t.Errorf("the header of struct chunk has %d bytes", n)
	}
	if unsafe.Sizeof(filesKey{}) != unsafe.Sizeof(key{}) || int(unsafe.Sizeof(filesQuestion{})) != len(new(question).bytes()) {
		t.Error("struct key or struct question has another size")
	}
	// include/uapi/linux/bpf.h, union bpf_attr
	var load loadAttr
	var run runAttr
	for name, at := range map[string][2]uintptr{
		"prog_name": {unsafe.Offsetof(load.name), 48}, "expected_attach_type": {unsafe.Offsetof(load.expectedAttachType), 68},
		"func_info_cnt": {unsafe.Offsetof(load.funcInfoCount), 88}, "attach_btf_id": {unsafe.Offsetof(load.attachBTF), 108},
		"test.ctx_size_in": {unsafe.Offsetof(run.contextSize), 40}, "test.ctx_in": {unsafe.Offsetof(run.context), 48},
	} {
		if at[0] != at[1] {
			t.Errorf("%s is at %d, want %d", name, at[0], at[1])
		}
	}
}

func TestDecodeTCP(t *testing.T) {
	b := record(wholeRecord+tcpPart, 0, socket.AllFields)
	p := b[wholeRecord:]
	copy(p, []byte{1, 2, 3, 1})
	for i, n := range []uint32{10, 20, 4, 16, 7, 5, 128} {
		binary.NativeEndian.PutUint32(p[4+4*i:], n)
	}
	var s socket.Socket
	_, rest, ok := hundredth.next(b, &s)
	if !ok || len(rest) != 0 {
		t.Fatal(ok, rest)
	}
	got := fmt.Sprint(s.Timer, s.Retransmits, s.Probes, s.PingPong, s.TimerExpires, s.RTO, s.ATO, s.QuickACK, s.CongestionWindow, s.SlowStartThreshold, s.FastOpenLimit)
	if want := "retransmit 2 3 true 100 200 40 16 7 5 128"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(record(shortRecord, 3, shortFields))
	f.Add(record(wholeRecord, 12, socket.AllFields))
	f.Add(append(record(wholeRecord+tcpPart, 1, socket.AllFields), record(wholeRecord+8, 10, socket.AllFields)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s socket.Socket
		for {
			_, rest, ok := hundredth.next(b, &s)
			if !ok {
				break
			}
			if len(rest) >= len(b) {
				t.Fatalf("%d bytes of %d are left", len(rest), len(b))
			}
			if s.Kind == 0 || s.Kind&(s.Kind-1) != 0 || s.Kind > socket.Other {
				t.Errorf("kind %#x", s.Kind)
			}
			if s.Known&socket.FieldAddresses != 0 && s.Kind&socket.Inet != 0 && s.Local.IsValid() != s.Remote.IsValid() {
				t.Errorf("%+v", s)
			}
			if len(s.Path) > 112 || s.Path != "" && s.Kind != socket.Unix {
				t.Errorf("%+v", s)
			}
			b = rest
		}
	})
}

func FuzzTypes(f *testing.F) {
	if raw, err := os.ReadFile("/sys/kernel/btf/vmlinux"); err == nil && len(raw) > 1<<10 {
		f.Add(raw[:1<<10])
	}
	header := func(types, strings string) []byte {
		b := []byte{0x9f, 0xeb, 1, 0}
		for _, n := range []int{btfHeaderSize, 0, len(types), len(types), len(strings)} {
			b = binary.NativeEndian.AppendUint32(b, uint32(n))
		}
		return append(append(b, types...), strings...)
	}
	// A struct that has itself as a member.
	f.Add(header("\x01\x00\x00\x00\x01\x00\x00\x04\x08\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00", "\x00sock\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		types, err := parseTypes(b)
		if err != nil {
			return
		}
		names := layouts{"sock": {"sk_type": true}, "net": {}}
		ids, _ := types.find(names, map[string]bool{"bpf_iter_task_file": true})
		if len(ids) < 100 {
			types.prune(ids, names)
		}
	})
}

// TestGenerated checks that the objects are those of the sources, where the
// compiler that made them is installed.
func TestGenerated(t *testing.T) {
	const version = "clang version 14.0.6"
	if out, err := exec.Command("clang-14", "--version").Output(); err != nil || !strings.Contains(string(out), version) {
		t.Skipf("needs clang-14, %s: %v", version, err)
	}
	if _, err := exec.LookPath("llvm-strip-14"); err != nil {
		t.Skip(err)
	}
	text, err := os.ReadFile("generate.go")
	if err != nil {
		t.Fatal(err)
	}
	dir, compared := t.TempDir(), 0
	for _, line := range strings.Split(string(text), "\n") {
		command, ok := strings.CutPrefix(line, "//go:generate go tool bpf2go ")
		if !ok {
			continue
		}
		args := append([]string{"tool", "bpf2go", "-output-dir", dir, "-go-package", "bpfiter"}, strings.Fields(command)...)
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			t.Fatalf("go %q: %v: %s", args, err, out)
		}
	}
	for _, ext := range []string{"*.o", "*_bpfel.go"} {
		made, _ := filepath.Glob(filepath.Join(dir, ext))
		for _, path := range made {
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			have, err := os.ReadFile(filepath.Base(path))
			if err != nil || string(have) != string(want) {
				t.Errorf("%s is not what its source makes: run go generate (%v)", filepath.Base(path), err)
			}
			compared++
		}
	}
	if compared != 4 {
		t.Errorf("%d files compared, want 4", compared)
	}
}
