package kcp

import (
	"go/ast"
	"go/format"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents are the texts of the repository's root and of docs.
func documents(t *testing.T) (paths []string) {
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		paths = append(paths, found...)
	}
	return paths
}

var (
	codeBlock  = regexp.MustCompile("(?ms)^```.*?^```")
	inlineLink = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	imageLink  = regexp.MustCompile(`(?:src|srcset)="([^"]+)"`)
	heading    = regexp.MustCompile(`(?m)^#+ +(.+?) *$`)
	notInSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors returns the fragments that a document's headings can be linked by, as hosts of Markdown make
// them: lower case, without punctuation, a hyphen for each space.
func anchors(text string) map[string]bool {
	found := make(map[string]bool)
	for _, h := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
		slug := notInSlug.ReplaceAllString(strings.ToLower(h[1]), "")
		found[strings.ReplaceAll(slug, " ", "-")] = true
	}
	return found
}

// Each relative link of the documents leads to a file that is there, and to a heading that it has.
func TestDocLinks(t *testing.T) {
	for _, document := range documents(t) {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		prose := codeBlock.ReplaceAllString(string(text), "")
		links := append(inlineLink.FindAllStringSubmatch(prose, -1), imageLink.FindAllStringSubmatch(prose, -1)...)
		for _, link := range links {
			if strings.Contains(link[1], "://") || strings.HasPrefix(link[1], "mailto:") {
				continue
			}
			path, fragment, _ := strings.Cut(link[1], "#")
			target := document
			if path != "" {
				target = filepath.Join(filepath.Dir(document), filepath.FromSlash(path))
			}
			linked, err := os.ReadFile(target)
			if info, statErr := os.Stat(target); statErr != nil || err != nil && !info.IsDir() {
				t.Errorf("%s links to %s, which is not there", document, link[1])
			} else if fragment != "" && !anchors(string(linked))[fragment] {
				t.Errorf("%s links to %s, which has no such heading", document, link[1])
			}
		}
	}
}

// An anchor is what hosts of Markdown make of a heading.
func TestDocAnchors(t *testing.T) {
	got := anchors("# A `b`, c: d-e?\n```\n# no heading\n```\n## 9.2. Session  numbers\n")
	for _, want := range []string{"a-b-c-d-e", "92-session--numbers"} {
		if !got[want] {
			t.Errorf("no %s in %v", want, got)
		}
	}
	if len(got) != 2 {
		t.Errorf("%v", got)
	}
}

// Each whole program in the documents compiles, and is formatted.
func TestDocPrograms(t *testing.T) {
	files := token.NewFileSet()
	var programs []*ast.File
	imports := make(map[string]bool)
	for _, document := range documents(t) {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range codeBlock.FindAllString(string(text), -1) {
			source, ok := strings.CutPrefix(strings.TrimSuffix(block, "```"), "```go\n")
			if !ok || !strings.HasPrefix(source, "package ") {
				continue
			}
			if formatted, err := format.Source([]byte(source)); err != nil || string(formatted) != source {
				t.Errorf("%s: a program is not formatted: %v", document, err)
			}
			program, err := parser.ParseFile(files, document, source, 0)
			if err != nil {
				t.Fatal(err)
			}
			programs = append(programs, program)
			for _, spec := range program.Imports {
				imports[strings.Trim(spec.Path.Value, `"`)] = true
			}
		}
	}
	if len(programs) == 0 {
		t.Fatal("no program found")
	}
	check := types.Config{Importer: exports(t, files, slices.Sorted(maps.Keys(imports)))}
	for _, program := range programs {
		if _, err := check.Check("main", files, []*ast.File{program}, nil); err != nil {
			t.Errorf("a program of %v", err)
		}
	}
}

// exports returns an importer of the packages at these paths, as the go command has built them.
func exports(t *testing.T, files *token.FileSet, paths []string) types.Importer {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command here: ", err)
	}
	args := append([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}, paths...)
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatalf("go %v: %v", args, err)
	}
	built := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		if path, file, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			built[path] = file
		}
	}
	return importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(built[path]) })
}
