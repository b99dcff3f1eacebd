package shell

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestPasteReader(t *testing.T) {
	for keys, want := range map[string]string{
		"select 1;\r":        "select 1;\r",
		"a\tb\x03\x1b[A\x1b": "a\tb\x03\x1b[A\x1b", // typed
		"\x1b[200~a\tb\x03\x04\x7f\x1b[A\x1b[201~\t": "a b[A\t",
		"x\x1b[200~é\r\nz\x1b[201~\x1b[201~":         "xé\r\nz\x1b[201~",
		"\x1b[200~\x1b[200~\x1b[201~\t":              "[200~\t",
		"\x1b[20":                                    "\x1b[20",
		"\x1b[200~open\t":                            "open ",
	} {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(keys), "bytewise": iotest.OneByteReader(strings.NewReader(keys)),
			"with its end": iotest.DataErrReader(strings.NewReader(keys)),
		} {
			// A lone escape is passed on at once, so bytewise no mark is seen.
			if name == "bytewise" && strings.Contains(keys, "\x1b[20") {
				continue
			}
			got, err := io.ReadAll(&pasteReader{r: r})
			if string(got) != want || err != nil {
				t.Errorf("%q, %s: %q, %v; want %q", keys, name, got, err, want)
			}
		}
	}
	// A mark may come in two parts.
	for cut := 1; cut < len(pasteEnd); cut++ {
		r := io.MultiReader(strings.NewReader(pasteBegin+"\t"+pasteEnd[:cut]), strings.NewReader(pasteEnd[cut:]+"\t"))
		if got, err := io.ReadAll(&pasteReader{r: r}); string(got) != " \t" || err != nil {
			t.Errorf("end cut at %d: %q, %v", cut, got, err)
		}
	}
	for cut := 2; cut < len(pasteBegin); cut++ {
		r := io.MultiReader(strings.NewReader("\x1b[200~"[:cut]), strings.NewReader("\x1b[200~"[cut:]+"\t\x1b[201~\t"))
		if got, err := io.ReadAll(&pasteReader{r: r}); string(got) != " \t" || err != nil {
			t.Errorf("cut at %d: %q, %v", cut, got, err)
		}
	}
}

func FuzzPasteReader(f *testing.F) {
	f.Add("a\x1b[200~b\t\x1b[201~", uint8(3))
	f.Fuzz(func(t *testing.T, keys string, size uint8) {
		p := &pasteReader{r: strings.NewReader(keys)}
		buf := make([]byte, int(size)+1)
		total := 0
		for {
			n, err := p.Read(buf)
			if total += n; total > len(keys) {
				t.Fatalf("%q became longer", keys)
			}
			if err != nil {
				return
			}
		}
	})
}
