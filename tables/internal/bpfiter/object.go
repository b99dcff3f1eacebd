package bpfiter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// An object is a compiled file of programs, fitted to the running kernel. It
// does not change, so that it can be loaded any number of times.
type object struct {
	spec     *ebpf.CollectionSpec
	programs map[string]*program
}

// A program is one of an object's. The BTF library would look for the target
// of an iterator among all types of the kernel; loading is a single call.
type program struct {
	name      string
	typ       uint32
	target    uint32 // type id of the iterator, 0 for none
	insns     asm.Instructions
	types     *btf.Handle // of its functions, which a callback needs
	functions []byte      // struct bpf_func_info
}

// kernelTypes returns the raw types of the running kernel. The function
// returned with them releases them.
func kernelTypes(path string) ([]byte, func(), error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		// Linux 6.16 and later can spare us the copy of some megabytes.
		raw, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
		if err == nil {
			return raw, func() { unix.Munmap(raw) }, nil
		}
	}
	raw, err := os.ReadFile(path)
	return raw, func() {}, err
}

// fit fits an object's programs to the kernel of these types.
func fit(spec *ebpf.CollectionSpec, types *typeTable) (*object, error) {
	structs, err := layoutsOf(spec.Types)
	if err != nil {
		return nil, err
	}
	targets := map[string]bool{}
	for _, p := range spec.Programs {
		if p.AttachTo != "" {
			targets[iteratorName(p)] = true
		}
	}
	ids, functions := types.find(structs, targets)
	kernel, err := types.prune(ids, structs)
	if err != nil {
		return nil, err
	}
	o := &object{spec: spec, programs: map[string]*program{}}
	for name, p := range spec.Programs {
		fitted := &program{name: name, typ: uint32(p.Type), insns: p.Instructions}
		if p.AttachTo != "" {
			id, found := functions[iteratorName(p)]
			if !found {
				o.close()
				return nil, fmt.Errorf("the kernel has no iterator %q: %w", p.AttachTo, unix.ENOENT)
			}
			fitted.target = id
		}
		if err := fitted.relocate(kernel); err != nil {
			o.close()
			return nil, fmt.Errorf("program %s: %w", name, err)
		}
		o.programs[name] = fitted
	}
	return o, nil
}

// iteratorName returns the name of the kernel's function that stands for an
// iterator (DEFINE_BPF_ITER_FUNC, include/linux/bpf.h).
func iteratorName(p *ebpf.ProgramSpec) string { return "bpf_iter_" + p.AttachTo }

// relocate puts the places of members into the instructions.
func (p *program) relocate(kernel *btf.Spec) error {
	var relocations []*btf.CORERelocation
	var places []*asm.Instruction
	for i := range p.insns {
		if r := btf.CORERelocationMetadata(&p.insns[i]); r != nil {
			relocations = append(relocations, r)
			places = append(places, &p.insns[i])
		}
	}
	var own btf.Builder
	fixups, err := btf.CORERelocate(relocations, []*btf.Spec{kernel}, binary.LittleEndian, own.Add)
	if err != nil {
		return fmt.Errorf("relocate: %w", err)
	}
	for i := range fixups {
		if err := fixups[i].Apply(places[i]); err != nil {
			return fmt.Errorf("relocate: %w", err)
		}
	}
	if p.functions, _, err = btf.MarshalExtInfos(p.insns, &own); err != nil {
		return fmt.Errorf("functions: %w", err)
	}
	if p.types, err = btf.NewHandle(&own); err != nil {
		return fmt.Errorf("load types: %w", err)
	}
	return nil
}

// close releases what the kernel holds for the object.
func (o *object) close() {
	for _, p := range o.programs {
		if p.types != nil {
			p.types.Close()
		}
	}
}

// load has the kernel check and compile the program, which uses the maps, and
// returns its descriptor.
func (p *program) load(maps map[string]*ebpf.Map) (int, error) {
	insns := make(asm.Instructions, len(p.insns))
	copy(insns, p.insns)
	for i := range insns {
		in := &insns[i]
		if !in.IsLoadFromMap() || in.Reference() == "" {
			continue
		}
		m := maps[in.Reference()]
		if m == nil {
			return -1, fmt.Errorf("program %s: no map %q", p.name, in.Reference())
		}
		if err := in.AssociateMap(m); err != nil {
			return -1, fmt.Errorf("program %s: map %q: %w", p.name, in.Reference(), err)
		}
	}
	var code bytes.Buffer
	if err := insns.Marshal(&code, binary.LittleEndian); err != nil {
		return -1, fmt.Errorf("program %s: %w", p.name, err)
	}
	raw, license := code.Bytes(), []byte("GPL\x00")
	attr := &loadAttr{
		progType: p.typ, insns: address(&raw[0]), insnCount: uint32(len(raw) / asm.InstructionSize), license: address(&license[0]),
		btfFD: uint32(p.types.FD()), funcInfoSize: btf.FuncInfoSize,
		funcInfo: address(&p.functions[0]), funcInfoCount: uint32(len(p.functions)) / btf.FuncInfoSize,
		attachBTF: p.target,
	}
	copy(attr.name[:len(attr.name)-1], p.name)
	if p.target != 0 {
		attr.expectedAttachType = unix.BPF_TRACE_ITER
	}
	fd, err := bpf(unix.BPF_PROG_LOAD, attr)
	if err != nil {
		// Once more, to hear why.
		log := make([]byte, 1<<20)
		attr.logLevel, attr.logSize, attr.logBuffer = 1, uint32(len(log)), address(&log[0])
		if fd, again := bpf(unix.BPF_PROG_LOAD, attr); again == nil {
			return fd, nil
		}
		err = fmt.Errorf("program %s: load: %w%s", p.name, err, verdict(log))
		runtime.KeepAlive(log)
	}
	runtime.KeepAlive(raw)
	runtime.KeepAlive(license)
	runtime.KeepAlive(maps)
	return fd, err
}

// verdict returns the verifier's last words but one: the last line counts
// instructions.
func verdict(log []byte) string {
	text, _, _ := bytes.Cut(log, []byte{0})
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if line := lines[i]; line != "" && !strings.HasPrefix(line, "processed ") {
			return ": " + line
		}
	}
	return ""
}

var errNoVariable = errors.New("no variable config")

// An instance is a loaded object with its own maps, so its own question.
type instance struct {
	limit    limit
	maps     map[string]*ebpf.Map
	programs map[string]int // descriptors
	config   uint32         // place of the question in the map of variables
	globals  []byte         // that map's value
	buffer   []byte         // of whoever uses the instance
}

// Maps of a program's variables and constants.
const (
	variables = ".bss"
	constants = ".rodata"
)

// load makes a new instance that answers what is within the limit.
func (o *object) load(l limit) (*instance, error) {
	in := &instance{limit: l, maps: map[string]*ebpf.Map{}, programs: map[string]int{}}
	if err := in.fill(o); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

func (in *instance) fill(o *object) error {
	for name, spec := range o.spec.Maps {
		spec = spec.Copy()
		switch name {
		case "lists":
			spec.MaxEntries = uint32(max(in.limit.room, 1))
		case constants:
			spec.Contents = []ebpf.MapKV{{Key: uint32(0), Value: in.limit.bytes()}}
		}
		m, err := ebpf.NewMap(spec)
		if err != nil {
			return fmt.Errorf("map %s: %w", name, err)
		}
		in.maps[name] = m
	}
	config := o.spec.Variables["config"]
	if config == nil || config.SectionName != variables || in.maps[variables] == nil || in.maps[constants] == nil {
		return errNoVariable
	}
	in.config, in.globals = config.Offset, make([]byte, in.maps[variables].ValueSize())
	for name, p := range o.programs {
		fd, err := p.load(in.maps)
		if err != nil {
			return err
		}
		in.programs[name] = fd
	}
	return nil
}

// close removes the instance from the kernel.
func (in *instance) close() {
	for _, fd := range in.programs {
		unix.Close(fd)
	}
	for _, m := range in.maps {
		m.Close()
	}
}
