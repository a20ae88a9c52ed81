package kcp

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// doc.go names each file of the package, and neither it nor the documents name one that is not there.
func TestDocNamesFiles(t *testing.T) {
	names := regexp.MustCompile(`[a-z0-9_*]+\.go\b`)
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	named := names.FindAllString(string(doc), -1)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || file == "doc.go" {
			continue
		}
		found := false
		for _, name := range named {
			match, err := filepath.Match(name, file)
			found = found || match && err == nil
		}
		if !found {
			t.Errorf("doc.go does not name %s", file)
		}
	}
	for _, document := range append(documents(t), "doc.go") {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names.FindAllString(string(text), -1) {
			if match, err := filepath.Glob(name); err != nil || len(match) == 0 {
				t.Errorf("%s names %s, which is not there", document, name)
			}
		}
	}
}
