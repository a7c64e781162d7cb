// The few ways this page touches the document. Text goes in as text, always: there is no road from data to markup.

/** @param {string} id */
export function at(id) {
  return document.getElementById(id);
}

/**
 * A new element of class `name` with children: elements, or texts that stay texts.
 * @param {string} tag
 * @param {string} name
 * @param {...(Node | string)} children
 */
export function element(tag, name, ...children) {
  const made = document.createElement(tag);
  if (name !== '') made.className = name;
  made.append(...children);
  return made;
}

/**
 * Text of a bundle for people to read: characters that are not seen, or that turn the text around them, are shown by number.
 * @param {string} text
 */
export function visible(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu, (character) => {
    if (character === '\n') return character;
    return `\\u{${character.codePointAt(0).toString(16)}}`;
  });
}
