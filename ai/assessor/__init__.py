"""The assessor: rates answers by prepared anchors, and proves its ratings by quotes."""
