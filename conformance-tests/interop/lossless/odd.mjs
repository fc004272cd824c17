// What is legal JSON and what parsers like to tidy up. It has line breaks, which an event carries in several lines.
export const ODD = String.raw`{ "big":123456789012345678901234567890,"a":1.10, "e":1e2 ,"E":1E+2,"z":-0.0,"far":1e999,
	"dup":1,"dup":{"k":1,"k":
	2},"esc":"\u0041\u00e4\/\b\ud83d\ude00\u0000","lone":"\ud800","raw":"äöü 😀`
  + '\u007f\u2028' + String.raw`","":null,"__proto__":{"x":[ ]},"deep":[[[[[[[[[[{"x":[ ] }]]]]]]]]]]  }`;
// Without what only a number of any size and a text of any code units can hold.
export const MILD = ODD.replace(/,"far":1e999|,"lone":"\\ud800"/g, '');
// The same in an object that has members already.
export const MORE = `"x-odd" :${ODD}, "_meta":{"a.b/c":${ODD} }`;
