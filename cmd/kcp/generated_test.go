package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The man page and the completions have all commands and options.
func TestGeneratedIsComplete(t *testing.T) {
	for _, name := range []string{"man", "bash", "zsh", "fish"} {
		text := wantRun(t, 0, "kcp", "help", name)
		for _, c := range commands() {
			fs, _ := c.flagSet()
			fs.VisitAll(func(f *flag.Flag) {
				option := map[string]string{"man": `\-` + strings.ReplaceAll(f.Name, "-", `\-`), "fish": "-o " + f.Name}[name]
				if option == "" {
					option = "-" + f.Name
				}
				if !strings.Contains(text, option) {
					t.Errorf("%s lacks -%s of %s", name, f.Name, c.name)
				}
			})
		}
	}
}

// tool runs a program with a generated text in a file, where there is such a program.
func tool(t *testing.T, name, text string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, append(args, file)...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// The shells take the scripts, and bash completes with its own.
func TestCompletions(t *testing.T) {
	t.Run("zsh", func(t *testing.T) { tool(t, "zsh", zshCompletion(), "-n") })
	t.Run("fish", func(t *testing.T) { tool(t, "fish", fishCompletion(), "--no-execute") })
	t.Run("bash", func(t *testing.T) {
		for line, want := range map[string]string{
			"kcp p": "perf ping", "kcp perf -cc c": "cubic conservation", "kcp perf -rev": "-reverse",
			"kcp key sh": "shared", "kcp help z": "zsh", "kcp perf -time ": "",
		} {
			words := strings.Split(line, " ")
			script := bashCompletion() + "COMP_WORDS=('" + strings.Join(words, "' '") + "')\nCOMP_CWORD=$((${#COMP_WORDS[@]}-1))\ncd /\n_kcp\necho \"${COMPREPLY[*]}\"\n"
			if got := tool(t, "bash", script); got != want+"\n" {
				t.Errorf("%q: %q, want %q", line, got, want)
			}
		}
	})
}

// roff has nothing to say about the man page.
func TestManPage(t *testing.T) {
	out := tool(t, "groff", manual(), "-man", "-ww", "-Tascii", "-z")
	if out != "" {
		t.Errorf("groff says:\n%s", out)
	}
}
