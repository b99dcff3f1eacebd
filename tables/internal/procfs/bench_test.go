package procfs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/fixtures"
	"sockql/tables/internal/socket"
)

// writeTree makes a tree of one process from a header and n lines.
func writeTree(b *testing.B, file string, n int, line func(i int) string) (*FS, int64) {
	b.Helper()
	var text bytes.Buffer
	text.WriteString("header\n")
	for i := range n {
		text.WriteString(line(i))
	}
	name := filepath.Join(b.TempDir(), "1", "net", file)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(name, text.Bytes(), 0o644); err != nil {
		b.Fatal(err)
	}
	p, err := Open(filepath.Dir(filepath.Dir(filepath.Dir(name))))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	return p, int64(text.Len())
}

func BenchmarkList(b *testing.B) {
	for _, list := range []struct {
		name string
		file string
		kind socket.Kind
		line func(i int) string
	}{
		{"tcp", "tcp", socket.TCP4, func(i int) string {
			return fmt.Sprintf("%-149s\n", fmt.Sprintf("%4d: %08X:%04X %08X:%04X 01 00000000:00000000 02:%08X 00000000 %5d        0 %d 2 ffff912c374887c0 20 4 30 10 -1", i, 0x0100007F, i&0xffff, 0x0200007F, 443, i, 1000, 300000+i))
		}},
		{"tcp6", "tcp6", socket.TCP6, func(i int) string {
			return fmt.Sprintf("%4d: B80D01200000000000000000%08X:%04X B80D0120000000000000000001000000:01BB 01 00000000:00000000 00:00000000 00000000 %5d        0 %d 1 ffff912c374887c0 20 0 0 10 -1\n", i, i, i&0xffff, 1000, 300000+i)
		}},
		{"udp", "udp", socket.UDP4, func(i int) string {
			return fmt.Sprintf("%-127s\n", fmt.Sprintf("%5d: %08X:%04X 00000000:0000 07 00000000:00000000 00:00000000 00000000 %5d        0 %d 2 ffff912c374887c0 0", i, 0x0100007F, i&0xffff, 101, 300000+i))
		}},
		{"unix", "unix", socket.Unix, func(i int) string {
			return fmt.Sprintf("ffff912c37488000: 00000003 00000000 00000000 0001 03 %5d /run/systemd/journal/stdout\n", 300000+i)
		}},
		{"unix-unnamed", "unix", socket.Unix, func(i int) string {
			return fmt.Sprintf("ffff912c37488000: 00000003 00000000 00000000 0001 03 %5d\n", 300000+i)
		}},
	} {
		for _, n := range []int{1000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", list.name, n), func(b *testing.B) {
				p, size := writeTree(b, list.file, n, list.line)
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					sockets := 0
					err := p.List(b.Context(), 1, list.kind, 1, nil, func(*socket.Socket) bool { sockets++; return true })
					if err != nil || sockets != n {
						b.Fatalf("%d sockets, %v", sockets, err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/line")
			})
		}
	}
}

// The walk goes through this process's own table, with n sockets in it.
func BenchmarkSockets(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			p := openKernel(b)
			for range n {
				fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					b.Skipf("cannot open %d sockets: %v", n, err)
				}
				b.Cleanup(func() { unix.Close(fd) })
			}
			var w Walker
			var fds []FDInode
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if fds, err = p.Sockets(&w, self(), fds[:0]); err != nil || len(fds) < n {
					b.Fatalf("%d descriptors, %v", len(fds), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/socket")
		})
	}
}

func BenchmarkProcess(b *testing.B) {
	p, err := Open(fixtures.Unpack(b, "bash"))
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	for name, read := range map[string]func() error{
		"stat":    func() error { _, err := p.Stat(14960); return err },
		"status":  func() error { _, err := p.Status(14960); return err },
		"cmdline": func() error { _, err := p.Cmdline(14960); return err },
		"exe":     func() error { _, err := p.Exe(14960); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
