import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: [".venv*/**", "runs/**", "dist/**", "build/**"] }, // environments and runs carry JavaScript of others
  js.configs.recommended,
  {
    files: ["src/nelbo/studio/static/**/*.js", "tests/studio/**/*.js"],
    languageOptions: { globals: { ...globals.browser, ...globals.worker } },
    rules: {
      "no-shadow": "error",
      "max-lines": ["error", { max: 330, skipComments: true, skipBlankLines: true }],
      "max-lines-per-function": ["warn", { max: 120, skipComments: true, skipBlankLines: true }],
      complexity: ["error", 25],
      eqeqeq: "error",
      "prefer-const": "error",
    },
  },
  { files: ["src/nelbo/studio/static/core/pages.js"], rules: { "max-lines": "off" } }, // data, not code
  { files: ["tests/studio/js/**/*.js", "*.config.js"], languageOptions: { globals: globals.node } },
];
