package bpfiter

import (
	"context"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/kerneltest"
	"sockql/tables/internal/socket"
)

// populate makes n sockets in the mix of a busy host: 50 % connected TCP, 20 %
// UDP, 30 % UNIX pairs, a few listeners. They are the test process's.
func populate(b *testing.B, n int) *kerneltest.Namespace {
	b.Helper()
	raiseLimit(b, n+n/10+1000)
	ns := kerneltest.NewNamespace(b)
	var fds []int
	b.Cleanup(func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	})
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	ns.Do(b, func() {
		open := func(family, typ int) int {
			fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, 0)
			check(err)
			fds = append(fds, fd)
			return fd
		}
		const perListener = 500
		var listener int
		var to unix.Sockaddr
		for i := range n / 4 {
			if i%perListener == 0 {
				listener = open(unix.AF_INET, unix.SOCK_STREAM)
				check(unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, byte(i / perListener), 1}}))
				check(unix.Listen(listener, 16))
				var err error
				to, err = unix.Getsockname(listener)
				check(err)
			}
			check(unix.Connect(open(unix.AF_INET, unix.SOCK_STREAM), to))
			server, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
			check(err)
			fds = append(fds, server)
		}
		for i := range n / 5 {
			check(unix.Bind(open(unix.AF_INET, unix.SOCK_DGRAM), &unix.SockaddrInet4{Addr: [4]byte{127, 1, byte(i / 250), byte(1 + i%250)}}))
		}
		for i := range n * 3 / 20 {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			check(err)
			fds = append(fds, pair[0], pair[1])
			if i%4 == 0 {
				check(unix.Bind(pair[0], &unix.SockaddrUnix{Name: fmt.Sprintf("@bench/%d", i)}))
			}
		}
	})
	return ns
}

func BenchmarkScan(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("sockets=%d", n), func(b *testing.B) {
			s := open(b)
			small := kerneltest.Hold(b, nil, populate(b, n).UDP(b, "127.0.0.1:0"))
			for _, bench := range []struct {
				name string
				req  func(*socket.Request)
			}{
				{"fields=all", func(*socket.Request) {}},
				{"fields=osquery", func(r *socket.Request) {
					r.Fields = socket.FieldFamily | socket.FieldProtocol | socket.FieldState | socket.FieldAddresses | socket.FieldPath | socket.FieldNetns
				}},
				{"fields=none", func(r *socket.Request) { r.Fields = 0 }},
				{"listeners", func(r *socket.Request) {
					r.Kinds, r.States, r.Fields = socket.TCP4|socket.TCP6, 1<<socket.StateListen, socket.FieldAddresses
				}},
				{"remote port", func(r *socket.Request) {
					r.Kinds, r.RemotePorts = socket.TCP4|socket.TCP6, socket.Ports{Restricted: true, Lo: 443, Hi: 443}
				}},
				{"one process", func(r *socket.Request) { r.PIDs = []int32{int32(small.PID)} }},
				{"whole process", func(r *socket.Request) { r.PIDs = []int32{int32(os.Getpid())} }},
			} {
				b.Run(bench.name, func(b *testing.B) {
					req := socket.Everything()
					bench.req(&req)
					rows := 0
					b.ReportAllocs()
					for b.Loop() {
						rows = 0
						if err := s.Scan(context.Background(), &req, func(*socket.Socket, ID) bool { rows++; return true }); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(rows), "rows")
				})
			}
			b.Run("ownerless", func(b *testing.B) {
				req := socket.Everything()
				b.ReportAllocs()
				for b.Loop() {
					if err := s.Ownerless(context.Background(), &req, func(*socket.Socket, ID) bool { return true }); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkOpen is a cold start but for the process's own.
func BenchmarkOpen(b *testing.B) {
	open(b)
	onePID := socket.Everything()
	onePID.PIDs, onePID.Fields = []int32{1}, socket.FieldFamily|socket.FieldProtocol|socket.FieldState|socket.FieldAddresses|socket.FieldNetns
	count := socket.Everything()
	count.Fields = 0
	listeners := onePID
	listeners.PIDs, listeners.Kinds, listeners.States = nil, socket.TCP4|socket.TCP6, 1<<socket.StateListen
	for name, first := range map[string]*socket.Request{"any": nil, "one process": &onePID, "count": &count, "listeners": &listeners} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s, err := Open(host, first)
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
	}
}

// BenchmarkFit finds the kernel's types and puts them into the programs.
func BenchmarkFit(b *testing.B) {
	raw, release, err := kernelTypes(host.types())
	if err != nil {
		b.Skip(err)
	}
	defer release()
	open(b)
	b.Run("parse object", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := loadFiles(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("pick types", func(b *testing.B) {
		spec, err := loadFiles()
		if err != nil {
			b.Fatal(err)
		}
		names, err := structNames(spec.Types)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			types, err := parseTypes(raw)
			if err != nil {
				b.Fatal(err)
			}
			ids, _ := types.find(names, map[string]bool{"bpf_iter_task_file": true})
			if _, err := types.prune(ids); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("load program", func(b *testing.B) {
		spec, err := loadFiles()
		if err != nil {
			b.Fatal(err)
		}
		o, err := fit(spec, raw)
		if err != nil {
			b.Fatal(err)
		}
		defer o.close()
		for b.Loop() {
			in, err := o.load(everything)
			if err != nil {
				b.Fatal(err)
			}
			in.close()
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	buf := record(wholeRecord+tcpPart, 0, socket.AllFields)
	var s socket.Socket
	b.ReportAllocs()
	for b.Loop() {
		hundredth.next(buf, &s)
	}
}
