"""Transfer to object detection and instance segmentation: Faster R-CNN and Mask R-CNN on an encoder."""
